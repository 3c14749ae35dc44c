// The argument checks of the activation ops, shared by the CPU and the CUDA ops.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <cmath>
#include <optional>
#include <string>

#include "common/check.h"
#include "common/kinds.h"

namespace colloc {

enum ActivationMask : int64_t { mask_x = 1, mask_a = 2, mask_beta = 4 };

// A slope or beta: one value for all, or one for each of the last axis of x.
inline int64_t check_parameter(const char* name, const Tensor& p, const Tensor& x) {
  check_like(name, p, "x", x);
  const int64_t width = x.dim() > 0 ? x.size(x.dim() - 1) : 1;
  const bool one = p.dim() == 0 || (p.dim() == 1 && p.size(0) == 1);
  STD_TORCH_CHECK(one || (p.dim() == 1 && p.size(0) == width), name,
                  ": expected shape (), (1,) or (", width, ",), the last size of x ", shape_of(x),
                  ", got ", shape_of(p), ".");
  return one ? 1 : width;
}

struct ActivationArguments {
  math::Kind kind;
  int64_t width;  // how many slopes there are: 1, or the last size of x
};

inline ActivationArguments check_activation(const Tensor& x, const Tensor& a,
                                            const std::optional<Tensor>& beta,
                                            const std::string& kind_name, double scale,
                                            int64_t order, int64_t highest) {
  const math::Kind kind = kind_from(kind_name);
  check_float("x", x.scalar_type());
  int64_t width = check_parameter("a", a, x);
  STD_TORCH_CHECK(std::isfinite(scale), "scale: expected a finite number, got ", scale, ".");
  STD_TORCH_CHECK(order >= 0 && order <= highest, "order: expected 0 to ", highest, ", got ", order,
                  "; the activation family is closed up to the ", math::max_activation_order,
                  "th derivative.");
  STD_TORCH_CHECK(beta.has_value() == (kind == math::Kind::stan),
                  "beta: expected a tensor for kind 'stan' and None for the others, got ",
                  beta.has_value() ? "a tensor" : "None", " for kind '", kind_name, "'.");
  if (beta.has_value()) width = std::max(width, check_parameter("beta", *beta, x));
  return {kind, width};
}

inline Tensor empty_of(const Tensor& like, torch::headeronly::IntHeaderOnlyArrayRef shape) {
  return torch::stable::empty(shape, like.scalar_type(), std::nullopt, like.device());
}

}  // namespace colloc
