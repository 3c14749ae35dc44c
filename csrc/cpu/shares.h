// A tensor of shares of area as the kernels take it.
#pragma once

#include "common/check.h"
#include "common/optional_tensor.h"
#include "cpu/kernels/importance.h"

namespace colloc {

inline Shares shares_of(const Optional& area) {
  if (!area) return {nullptr, nullptr};
  if (area->scalar_type() == ScalarType::Float) return {data<float>(area), nullptr};
  return {nullptr, data<double>(area)};
}

}  // namespace colloc
