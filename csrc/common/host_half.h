// Half precision numbers (IEEE 754 binary16) on the host, for tests.
#pragma once

#include <cmath>
#include <cstdint>

#include "math/elementary.h"

namespace colloc {

inline float float_from_half(uint32_t half) {
  const uint32_t exponent = half >> 10 & 31u, fraction = half & 1023u;
  float size;
  if (exponent == 31) {
    size = math::bits_as<float>(0x7f800000u | fraction << 13);
  } else {
    size = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                         : std::ldexp(static_cast<float>(fraction + 1024), int(exponent) - 25);
  }
  return half & 0x8000u ? -size : size;
}

// To the nearest, halves to even.
inline uint32_t half_from_float(float x) {
  if (std::isnan(x)) return 0x7fffu;
  const uint32_t sign = std::signbit(x) ? 0x8000u : 0u;
  const double size = std::fabs(static_cast<double>(x));
  if (size >= 65520.0) return sign | 0x7c00u;
  if (size < 0x1p-14) return sign | static_cast<uint32_t>(std::nearbyint(size * 0x1p24));
  const int exponent = std::ilogb(size);
  // A fraction that is rounded up to 2048 carries into the exponent.
  const auto fraction = static_cast<uint32_t>(std::nearbyint(std::ldexp(size, 10 - exponent)));
  return sign | ((static_cast<uint32_t>(exponent + 14) << 10) + fraction);
}

}  // namespace colloc
