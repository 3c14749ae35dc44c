// The names of the activation kinds, in the order of math::Kind.
#pragma once

#include <torch/headeronly/util/Exception.h>

#include <string>

#include "math/activation.h"

namespace colloc {

inline constexpr const char* kind_names[math::kind_count] = {
    "tanh", "sin", "silu", "gelu", "gelu_tanh", "sigmoid", "softplus", "identity", "stan"};

inline math::Kind kind_from(const std::string& name) {
  std::string listed;
  for (int i = 0; i < math::kind_count; ++i) {
    if (name == kind_names[i]) return static_cast<math::Kind>(i);
    listed += std::string(i ? ", " : "") + kind_names[i];
  }
  STD_TORCH_CHECK(false, "kind: expected one of ", listed, ", got '", name, "'.");
  return math::Kind::tanh;
}

}  // namespace colloc
