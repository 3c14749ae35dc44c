// The argument checks of op distance, shared by the CPU and the CUDA op.
#pragma once

#include "common/jet_arguments.h"
#include "math/distance.h"

namespace colloc {

constexpr int64_t most_m = 64;  // higher powers of ratios leave float32 at once

struct DistanceArguments {
  math::JetOrder order;
  int size;
  int64_t points, count;
};

inline DistanceArguments check_distance(const Tensor& x, const Tensor& pieces,
                                        const std::optional<Tensor>& on, int64_t m, double length,
                                        const std::string& order_name) {
  DistanceArguments found{};
  found.order = jet_order_from(order_name);
  found.size = math::jet_size(found.order, 2);
  check_float("x", x.scalar_type());
  STD_TORCH_CHECK(x.dim() == 2 && x.size(1) == 2, "x: expected shape (N, 2), got ", shape_of(x),
                  ".");
  STD_TORCH_CHECK(pieces.scalar_type() == ScalarType::Double && pieces.device() == x.device(),
                  "pieces: expected a float64 tensor on the device of x.");
  STD_TORCH_CHECK(pieces.dim() == 2 && pieces.size(0) >= 1 && pieces.size(1) == math::piece_numbers,
                  "pieces: expected shape (P, ", math::piece_numbers, ") with P >= 1, got ",
                  shape_of(pieces), ".");
  found.points = x.size(0);
  found.count = pieces.size(0);
  STD_TORCH_CHECK(m >= 1 && m <= most_m, "m: expected 1 to ", most_m, ", got ", m, ".");
  STD_TORCH_CHECK(length >= 1e-35 && length <= 1e35,
                  "length: expected a number from 1e-35 to 1e35, got ", length, ".");
  if (on.has_value()) {
    STD_TORCH_CHECK(on->scalar_type() == ScalarType::Long && on->device() == x.device(),
                    "piece: expected an int64 tensor on the device of x.");
    STD_TORCH_CHECK(on->dim() == 1 && on->size(0) == found.points, "piece: expected shape (",
                    found.points, ",), got ", shape_of(*on), ".");
  }
  return found;
}

}  // namespace colloc
