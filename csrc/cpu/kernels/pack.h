// A vector register's worth of numbers, for mathematics written over a scalar type. The loops
// that are too large for the compiler's vectoriser are written over it.
#pragma once

#include <cstdint>

namespace colloc::COLLOC_CAPABILITY {

#if defined(__AVX512F__)
constexpr int pack_bytes = 64;
#elif defined(__AVX__)
constexpr int pack_bytes = 32;
#else
constexpr int pack_bytes = 16;
#endif

#define COLLOC_PACK static inline __attribute__((always_inline))
#define COLLOC_PACK_MEMBER inline __attribute__((always_inline))

template <typename T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(pack_bytes)));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(pack_bytes)));
};

template <typename T>
struct Pack {
  static constexpr int64_t lanes = pack_bytes / static_cast<int>(sizeof(T));
  using Vector = typename VectorOf<T>::type;
  Vector v;

  Pack() = default;
  COLLOC_PACK_MEMBER Pack(Vector vector) : v(vector) {}
  COLLOC_PACK_MEMBER Pack(T scalar) : v(Vector{} + scalar) {}

  friend COLLOC_PACK_MEMBER Pack operator+(Pack a, Pack b) { return Pack(a.v + b.v); }
  friend COLLOC_PACK_MEMBER Pack operator*(Pack a, Pack b) { return Pack(a.v * b.v); }
};

template <typename T>
COLLOC_PACK Pack<T> load(const T* from) {
  Pack<T> pack;
  __builtin_memcpy(&pack.v, from, pack_bytes);
  return pack;
}

template <typename T>
COLLOC_PACK void store(T* to, Pack<T> pack) {
  __builtin_memcpy(to, &pack.v, pack_bytes);
}

}  // namespace colloc::COLLOC_CAPABILITY
