// The argument checks of the jet ops, shared by the CPU and the CUDA ops.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <optional>
#include <string>
#include <vector>

#include "common/activation_arguments.h"
#include "math/jet.h"

namespace colloc {

// The order of math::JetOrder.
inline constexpr const char* jet_order_names[math::jet_order_count] = {
    "0", "1", "laplacian", "2", "grad_laplacian", "3"};

inline math::JetOrder jet_order_from(const std::string& name) {
  std::string listed;
  for (int i = 0; i < math::jet_order_count; ++i) {
    if (name == jet_order_names[i]) return static_cast<math::JetOrder>(i);
    listed += std::string(i ? ", " : "") + "'" + jet_order_names[i] + "'";
  }
  STD_TORCH_CHECK(false, "order: expected one of ", listed, ", got '", name, "'.");
  return math::JetOrder::value;
}

struct JetArguments {
  math::Kind kind;
  math::JetOrder order;
  int n, size;
  int64_t points, width;
};

inline void check_vector(const char* name, const std::optional<Tensor>& value, int64_t width,
                         const Tensor& y) {
  if (!value.has_value()) return;
  check_like(name, *value, "y", y);
  STD_TORCH_CHECK(value->dim() == 1 && value->size(0) == width, name, ": expected shape (", width,
                  ",), the last size of y, got ", shape_of(*value), ".");
}

// y is (N, K, W) or, with columns (n, W), the value alone, (N, W).
inline JetArguments check_jet(const Tensor& y, const std::optional<Tensor>& columns,
                              const std::optional<Tensor>& bias, const std::optional<Tensor>& beta,
                              const std::string& kind_name, const std::string& order_name,
                              int64_t n) {
  JetArguments found{};
  found.kind = kind_from(kind_name);
  found.order = jet_order_from(order_name);
  STD_TORCH_CHECK(n >= 1 && n <= math::max_jet_inputs, "n: expected 1 to ", math::max_jet_inputs,
                  " differentiated inputs, got ", n, ".");
  found.n = static_cast<int>(n);
  found.size = math::jet_size(found.order, found.n);
  check_float("y", y.scalar_type());
  if (columns.has_value()) {
    STD_TORCH_CHECK(y.dim() == 2, "y: expected shape (N, W) where columns are given, got ",
                    shape_of(y), ".");
    check_like("columns", *columns, "y", y);
    STD_TORCH_CHECK(columns->dim() == 2 && columns->size(0) == n && columns->size(1) == y.size(1),
                    "columns: expected shape (", n, ", ", y.size(1), "), got ", shape_of(*columns),
                    ".");
  } else {
    STD_TORCH_CHECK(y.dim() == 3 && y.size(1) == found.size, "y: expected shape (N, ", found.size,
                    ", W) for order '", order_name, "' in ", n, " inputs, got ", shape_of(y), ".");
  }
  found.points = y.size(0);
  found.width = y.size(y.dim() - 1);
  check_vector("bias", bias, found.width, y);
  STD_TORCH_CHECK(beta.has_value() == (found.kind == math::Kind::stan),
                  "beta: expected a tensor for kind 'stan' and None for the others, got ",
                  beta.has_value() ? "a tensor" : "None", " for kind '", kind_name, "'.");
  check_vector("beta", beta, found.width, y);
  return found;
}

// `grad` or `v` must be a jet (N, K, W) like h.
inline void check_full_jet(const char* name, const Tensor& jet, const JetArguments& found,
                           const Tensor& y) {
  check_like(name, jet, "y", y);
  STD_TORCH_CHECK(jet.dim() == 3 && jet.size(0) == found.points && jet.size(1) == found.size &&
                      jet.size(2) == found.width,
                  name, ": expected shape (", found.points, ", ", found.size, ", ", found.width,
                  "), got ", shape_of(jet), ".");
}

}  // namespace colloc
