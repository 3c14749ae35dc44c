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
  ScalarType stored;  // what jets are stored in: float32, float64, or 16 bits
};

// Jets of 16 bits are computed in float32; a value alone and the parameters are float32 then.
inline bool narrow(ScalarType dtype) {
  return dtype == ScalarType::Half || dtype == ScalarType::BFloat16;
}

inline ScalarType computed_in(ScalarType dtype) {
  return narrow(dtype) ? ScalarType::Float : dtype;
}

// `value` must have the dtype, which goes with that of `like`, and the device of `like`.
inline void check_jet_dtype(const char* name, const Tensor& value, ScalarType dtype,
                            const char* like_name, const Tensor& like) {
  STD_TORCH_CHECK(value.scalar_type() == dtype, name, ": expected ", dtype_name(dtype), " with ",
                  like_name, " of ", dtype_name(like.scalar_type()), ", got ",
                  dtype_name(value.scalar_type()), ".");
  STD_TORCH_CHECK(value.device() == like.device(), name, ": expected the device of ", like_name,
                  ", got another one.");
}

inline void check_vector(const char* name, const std::optional<Tensor>& value, int64_t width,
                         const Tensor& y) {
  if (!value.has_value()) return;
  check_jet_dtype(name, *value, computed_in(y.scalar_type()), "y", y);
  STD_TORCH_CHECK(value->dim() == 1 && value->size(0) == width, name, ": expected shape (", width,
                  ",), the last size of y, got ", shape_of(*value), ".");
}

// y is (N, K, W) or, with columns (n, W), the value alone, (N, W). Jets have the dtype of the
// columns then, else that of y.
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
  found.stored = columns.has_value() ? columns->scalar_type() : y.scalar_type();
  if (!narrow(found.stored)) check_float("y", y.scalar_type());
  if (columns.has_value()) {
    STD_TORCH_CHECK(y.dim() == 2, "y: expected shape (N, W) where columns are given, got ",
                    shape_of(y), ".");
    check_jet_dtype("y", y, computed_in(found.stored), "columns", *columns);
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

// Memory for a jet (N, K, W), on the device of y.
inline Tensor new_jet(const JetArguments& found, const Tensor& y) {
  return torch::stable::empty({found.points, found.size, found.width}, found.stored, std::nullopt,
                              y.device());
}

// `grad` or `v` must be a jet (N, K, W) like h.
inline void check_full_jet(const char* name, const Tensor& jet, const JetArguments& found,
                           const Tensor& y) {
  check_jet_dtype(name, jet, found.stored, "y", y);
  STD_TORCH_CHECK(jet.dim() == 3 && jet.size(0) == found.points && jet.size(1) == found.size &&
                      jet.size(2) == found.width,
                  name, ": expected shape (", found.points, ", ", found.size, ", ", found.width,
                  "), got ", shape_of(jet), ".");
}

}  // namespace colloc
