// A vector register's worth of numbers, for mathematics written over a scalar type. The loops
// that are too large for the compiler's vectoriser are written over it.
#pragma once

#include <cmath>
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
  using Scalar = T;
  static constexpr int64_t lanes = pack_bytes / static_cast<int>(sizeof(T));
  using Vector = typename VectorOf<T>::type;
  Vector v;

  Pack() = default;
  COLLOC_PACK_MEMBER Pack(Vector vector) : v(vector) {}
  // x - 0 is x, where 0 + x would have to be computed: -0 + 0 is 0.
  COLLOC_PACK_MEMBER Pack(T scalar) : v(scalar - Vector{}) {}

  friend COLLOC_PACK_MEMBER Pack operator+(Pack a, Pack b) { return Pack(a.v + b.v); }
  friend COLLOC_PACK_MEMBER Pack operator-(Pack a, Pack b) { return Pack(a.v - b.v); }
  friend COLLOC_PACK_MEMBER Pack operator*(Pack a, Pack b) { return Pack(a.v * b.v); }
  friend COLLOC_PACK_MEMBER Pack operator/(Pack a, Pack b) { return Pack(a.v / b.v); }
  COLLOC_PACK_MEMBER Pack operator-() const { return Pack(-v); }

  // Comparisons give a mask of the lanes for `select`.
  friend COLLOC_PACK_MEMBER auto operator<(Pack a, Pack b) { return a.v < b.v; }
  friend COLLOC_PACK_MEMBER auto operator>(Pack a, Pack b) { return a.v > b.v; }
  friend COLLOC_PACK_MEMBER auto operator<=(Pack a, Pack b) { return a.v <= b.v; }
  friend COLLOC_PACK_MEMBER auto operator>=(Pack a, Pack b) { return a.v >= b.v; }
  friend COLLOC_PACK_MEMBER auto operator==(Pack a, Pack b) { return a.v == b.v; }
};

// a where the mask is set, else b.
template <typename Mask, typename T>
COLLOC_PACK Pack<T> select(Mask mask, Pack<T> a, Pack<T> b) {
  return Pack<T>(mask ? a.v : b.v);
}

// Whether a lane of the mask is set.
template <typename Mask>
COLLOC_PACK bool any(Mask mask) {
  constexpr int words = sizeof(Mask) / 8;
  int64_t bits[words], found = 0;
  __builtin_memcpy(bits, &mask, sizeof(Mask));
  for (int i = 0; i < words; ++i) found |= bits[i];
  return found != 0;
}

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

template <typename T>
COLLOC_PACK Pack<T> absolute(Pack<T> x) {
  using Bits = decltype(x.v < x.v);
  const Bits sign = reinterpret_cast<Bits>(Pack<T>(T(-0.0)).v);
  return Pack<T>(reinterpret_cast<typename Pack<T>::Vector>(reinterpret_cast<Bits>(x.v) & ~sign));
}

// Written as a loop, GCC takes it for eight square roots.
COLLOC_PACK Pack<float> square_root(Pack<float> x) {
#if defined(__clang__)
  return Pack<float>(__builtin_elementwise_sqrt(x.v));
#elif defined(__AVX512F__)
  return Pack<float>(__builtin_ia32_sqrtps512_mask(x.v, x.v, -1, 4));
#elif defined(__AVX__)
  return Pack<float>(__builtin_ia32_sqrtps256(x.v));
#elif defined(__SSE2__)
  return Pack<float>(__builtin_ia32_sqrtps(x.v));
#else
  for (int i = 0; i < Pack<float>::lanes; ++i) x.v[i] = __builtin_sqrtf(x.v[i]);
  return x;
#endif
}

COLLOC_PACK Pack<double> square_root(Pack<double> x) {
#if defined(__clang__)
  return Pack<double>(__builtin_elementwise_sqrt(x.v));
#elif defined(__AVX512F__)
  return Pack<double>(__builtin_ia32_sqrtpd512_mask(x.v, x.v, -1, 4));
#elif defined(__AVX__)
  return Pack<double>(__builtin_ia32_sqrtpd256(x.v));
#elif defined(__SSE2__)
  return Pack<double>(__builtin_ia32_sqrtpd(x.v));
#else
  for (int i = 0; i < Pack<double>::lanes; ++i) x.v[i] = __builtin_sqrt(x.v[i]);
  return x;
#endif
}

// 1 / x and 1 / sqrt(x) for normal numbers between 1e-37 and 1e37: an estimate of 12 bits or more
// with a step of Newton's method, within 3 units in the last place. Dividing takes longer.
COLLOC_PACK Pack<float> reciprocal(Pack<float> x) {
#if defined(__AVX512F__)
  const Pack<float> y(__builtin_ia32_rcp14ps512_mask(x.v, x.v, -1));
#elif defined(__AVX__)
  const Pack<float> y(__builtin_ia32_rcpps256(x.v));
#else
  return Pack<float>(1.0f) / x;
#endif
#if defined(__AVX__)
  return y + y * (Pack<float>(1.0f) - x * y);
#endif
}

COLLOC_PACK Pack<float> reciprocal_root(Pack<float> x) {
#if defined(__AVX512F__)
  const Pack<float> y(__builtin_ia32_rsqrt14ps512_mask(x.v, x.v, -1));
#elif defined(__AVX__)
  const Pack<float> y(__builtin_ia32_rsqrtps256(x.v));
#else
  return Pack<float>(1.0f) / square_root(x);
#endif
#if defined(__AVX__)
  return y + (Pack<float>(0.5f) * y) * (Pack<float>(1.0f) - (x * y) * y);
#endif
}

// In double, three steps from a float's estimate take longer than dividing.
COLLOC_PACK Pack<double> reciprocal(Pack<double> x) { return Pack<double>(1.0) / x; }

COLLOC_PACK Pack<double> reciprocal_root(Pack<double> x) {
  return Pack<double>(1.0) / square_root(x);
}

// x^exponent, lane by lane: for what is taken once a point.
template <typename T>
COLLOC_PACK Pack<T> real_power(Pack<T> x, double exponent) {
  for (int i = 0; i < Pack<T>::lanes; ++i) x.v[i] = std::pow(x.v[i], static_cast<T>(exponent));
  return x;
}

}  // namespace colloc::COLLOC_CAPABILITY
