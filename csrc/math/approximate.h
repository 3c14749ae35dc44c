// Reciprocals and inverse roots by a GPU's estimates, for kernels whose tolerance allows them:
// within 2 units in the last place, for normal numbers and results alone (0 gives infinity).
#pragma once

#include <cmath>

#include "math/elementary.h"

namespace colloc::math {

// 1/x and 1/sqrt(x) of a double from the upper half of its digits, to 20 bits or more. The host's
// versions stand for the GPU's in tests.
COLLOC_HD double reciprocal_estimate(double x) {
#if defined(__CUDA_ARCH__)
  double y;
  asm("rcp.approx.ftz.f64 %0, %1;" : "=d"(y) : "d"(x));
  return y;
#else
  const uint64_t upper = 0xffffffff00000000ull;
  return bits_as<double>(bits_as<uint64_t>(1.0 / bits_as<double>(bits_as<uint64_t>(x) & upper)) &
                         upper);
#endif
}

COLLOC_HD double reciprocal_root_estimate(double x) {
#if defined(__CUDA_ARCH__)
  double y;
  asm("rsqrt.approx.ftz.f64 %0, %1;" : "=d"(y) : "d"(x));
  return y;
#else
  const uint64_t upper = 0xffffffff00000000ull;
  const double cut = bits_as<double>(bits_as<uint64_t>(x) & upper);
  return bits_as<double>(bits_as<uint64_t>(1.0 / std::sqrt(cut)) & upper);
#endif
}

COLLOC_HD float quick_reciprocal(float x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return 1.0f / x;
#endif
}

COLLOC_HD float quick_reciprocal_root(float x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return 1.0f / std::sqrt(x);
#endif
}

// One step of the third order takes 20 bits to 60: with e = 1 - x y, 1/x = y (1 + e + e^2 + ...).
COLLOC_HD double quick_reciprocal(double x) {
  const double y = reciprocal_estimate(x), e = 1.0 - x * y;
  return y + y * (e + e * e);
}

// With e = 1 - x y^2, 1/sqrt(x) = y (1 + e / 2 + 3 e^2 / 8 + ...).
COLLOC_HD double quick_reciprocal_root(double x) {
  const double y = reciprocal_root_estimate(x), e = 1.0 - (x * y) * y;
  return y + (y * e) * (0.5 + 0.375 * e);
}

}  // namespace colloc::math
