// Argument checks of the ops. The Python wrappers say the same in more words; these hold for
// callers of torch.ops.colloc.* as well.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <string>

namespace colloc {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline std::string shape_of(const Tensor& t) {
  std::string text = "(";
  for (int64_t i = 0; i < t.dim(); ++i) text += (i ? ", " : "") + std::to_string(t.size(i));
  return text + ")";
}

inline const char* dtype_name(ScalarType dtype) {
  switch (dtype) {
    case ScalarType::Float:
      return "float32";
    case ScalarType::Double:
      return "float64";
    case ScalarType::Half:
      return "float16";
    case ScalarType::BFloat16:
      return "bfloat16";
    default:
      return "another dtype";
  }
}

inline void check_float(const char* name, ScalarType dtype) {
  STD_TORCH_CHECK(dtype == ScalarType::Float || dtype == ScalarType::Double, name,
                  ": expected float32 or float64, got ", dtype_name(dtype), ".");
}

// `other` must have the dtype and device of `x`.
inline void check_like(const char* name, const Tensor& other, const char* x_name, const Tensor& x) {
  STD_TORCH_CHECK(other.scalar_type() == x.scalar_type(), name, ": expected the dtype of ", x_name,
                  " (", dtype_name(x.scalar_type()), "), got ", dtype_name(other.scalar_type()),
                  ".");
  STD_TORCH_CHECK(other.device() == x.device(), name, ": expected the device of ", x_name,
                  ", got another one.");
}

inline void check_same_shape(const char* name, const Tensor& other, const char* x_name,
                             const Tensor& x) {
  bool same = other.dim() == x.dim();
  for (int64_t i = 0; same && i < x.dim(); ++i) same = other.size(i) == x.size(i);
  STD_TORCH_CHECK(same, name, ": expected the shape of ", x_name, " ", shape_of(x), ", got ",
                  shape_of(other), ".");
}

}  // namespace colloc
