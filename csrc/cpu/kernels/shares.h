// Shares of area in double, whatever they are kept in.
#pragma once

#include "cpu/kernels/importance.h"

namespace colloc::COLLOC_CAPABILITY {
namespace {

// The shares first .. first+count-1 times `unit` into `to`; false where there are none.
inline bool load_shares(Shares shares, int64_t first, int64_t count, double unit, double* to) {
  if (shares.single != nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      to[i] = static_cast<double>(shares.single[first + i]) * unit;
    }
    return true;
  }
  if (shares.wide != nullptr) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) to[i] = shares.wide[first + i] * unit;
    return true;
  }
  return false;
}

}  // namespace
}  // namespace colloc::COLLOC_CAPABILITY
