// Loops that the compiler unrolls for certain: an array indexed by constants alone becomes
// registers, and only then do loops around it vectorise.
#pragma once

#include "math/host_device.h"

#if defined(__CUDACC__)
#define COLLOC_INLINE_LAMBDA
#else
#define COLLOC_INLINE_LAMBDA __attribute__((always_inline))
#endif

namespace colloc::math {

// A constant as a type: usable where a number is, also in constant expressions.
template <int I>
struct Index {
  COLLOC_HD_MEMBER constexpr operator int() const { return I; }
};

// body(Index<First>{}), ..., body(Index<Last - 1>{}).
template <int First, int Last, typename Body>
COLLOC_HD void unroll(const Body& body) {
  if constexpr (First < Last) {
    body(Index<First>{});
    unroll<First + 1, Last>(body);
  }
}

}  // namespace colloc::math
