#include "common/capability.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>

namespace colloc {
namespace {

constexpr const char* names[] = {"baseline", "avx2", "avx512"};

bool available(Capability wanted) {
#if defined(COLLOC_HAS_AVX2)
  __builtin_cpu_init();
  switch (wanted) {
    case Capability::baseline:
      return true;
    case Capability::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Capability::avx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("fma");
  }
  return false;
#else
  return wanted == Capability::baseline;
#endif
}

// The place of `name` in names, or -1.
int find(const char* name) {
  for (int i = 0; i < 3; ++i) {
    if (std::strcmp(name, names[i]) == 0) return i;
  }
  return -1;
}

struct Choice {
  std::atomic<int> value;
  std::string problem;

  Choice() : value(0) {
    int best = 2;
    while (!available(static_cast<Capability>(best))) --best;
    value = best;
    const char* wanted = std::getenv("COLLOC_CPU_CAPABILITY");
    if (wanted == nullptr || *wanted == '\0') return;
    const int found = find(wanted);
    if (found >= 0 && available(static_cast<Capability>(found))) {
      value = found;
    } else {
      problem = wanted;
    }
  }
};

Choice& choice() {
  static Choice instance;
  return instance;
}

}  // namespace

Capability capability() { return static_cast<Capability>(choice().value.load()); }

}  // namespace colloc

const char* colloc_cpu_capability() {
  return colloc::names[static_cast<int>(colloc::capability())];
}

int colloc_has_cpu_capability(const char* name) {
  const int found = colloc::find(name);
  return found >= 0 && colloc::available(static_cast<colloc::Capability>(found));
}

int colloc_set_cpu_capability(const char* name) {
  const int found = colloc::find(name);
  if (found < 0) return 1;
  if (!colloc::available(static_cast<colloc::Capability>(found))) return 2;
  colloc::choice().value = found;
  return 0;
}

const char* colloc_cpu_capability_problem() { return colloc::choice().problem.c_str(); }
