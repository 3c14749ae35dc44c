// The argument checks of ops signed_distance and signed_distance_slope, shared by the CPU and the
// CUDA ops.
#pragma once

#include "common/activation_arguments.h"
#include "math/signed_distance.h"

namespace colloc {

struct SignedDistanceArguments {
  int64_t points, straight, circular;
};

inline int64_t check_table(const char* name, const Tensor& table, int64_t numbers,
                           const Tensor& x) {
  STD_TORCH_CHECK(table.scalar_type() == ScalarType::Double && table.device() == x.device(), name,
                  ": expected a float64 tensor on the device of x.");
  STD_TORCH_CHECK(table.dim() == 2 && table.size(1) == numbers, name, ": expected shape (P, ",
                  numbers, "), got ", shape_of(table), ".");
  return table.size(0);
}

inline SignedDistanceArguments check_signed_distance(const Tensor& x, const Tensor& straight,
                                                     const Tensor& circular, double size) {
  SignedDistanceArguments found{};
  check_float("x", x.scalar_type());
  STD_TORCH_CHECK(x.dim() == 2 && x.size(1) == 2, "x: expected shape (N, 2), got ", shape_of(x),
                  ".");
  found.points = x.size(0);
  found.straight = check_table("straight", straight, math::straight_numbers, x);
  found.circular = check_table("circular", circular, math::circular_numbers, x);
  STD_TORCH_CHECK(found.straight + found.circular >= 1,
                  "straight, circular: expected at least one piece, got none.");
  STD_TORCH_CHECK(size >= 0, "size: expected a number >= 0, got ", size, ".");
  return found;
}

}  // namespace colloc
