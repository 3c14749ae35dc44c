// Which instruction set the CPU kernels use: the best one that the processor has, or the one
// named by COLLOC_CPU_CAPABILITY (baseline, avx2, avx512).
#pragma once

#include "common/export.h"

namespace colloc {

enum class Capability : int { baseline, avx2, avx512 };

Capability capability();

}  // namespace colloc

// Plain C functions for the Python module, which shares this library's choice.
extern "C" {
COLLOC_EXPORT const char* colloc_cpu_capability();
// 0: chosen; 1: unknown name; 2: this build or this processor does not have it.
COLLOC_EXPORT int colloc_set_cpu_capability(const char* name);
COLLOC_EXPORT int colloc_has_cpu_capability(const char* name);
// What COLLOC_CPU_CAPABILITY asked for in vain, or an empty text.
COLLOC_EXPORT const char* colloc_cpu_capability_problem();
}
