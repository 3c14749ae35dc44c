// The argument checks of op transfinite, shared by the CPU and the CUDA op.
#pragma once

#include "common/distance_arguments.h"

namespace colloc {

struct TransfiniteArguments {
  math::JetOrder order;
  int n;
  int64_t size, points, groups;
};

inline TransfiniteArguments check_transfinite(const Tensor& phi, const Tensor& mu, double length,
                                              const std::string& order_name, int64_t n) {
  TransfiniteArguments found{};
  found.order = jet_order_from(order_name);
  STD_TORCH_CHECK(n >= 1 && n <= math::max_jet_inputs, "n: expected 1 to ", math::max_jet_inputs,
                  " differentiated inputs, got ", n, ".");
  found.n = static_cast<int>(n);
  found.size = math::jet_size(found.order, found.n);
  check_float("phi", phi.scalar_type());
  STD_TORCH_CHECK(phi.dim() == 3 && phi.size(0) >= 1 && phi.size(1) == found.size,
                  "phi: expected shape (M, ", found.size, ", N) for order '", order_name,
                  "', with M >= 1, got ", shape_of(phi), ".");
  found.groups = phi.size(0);
  found.points = phi.size(2);
  STD_TORCH_CHECK(mu.scalar_type() == ScalarType::Long && mu.device() == phi.device() &&
                      mu.dim() == 1 && mu.size(0) == found.groups,
                  "mu: expected an int64 tensor of shape (", found.groups,
                  ",) on the device of phi, got ", shape_of(mu), ".");
  STD_TORCH_CHECK(length > 0, "length: expected a number > 0, got ", length, ".");
  return found;
}

}  // namespace colloc
