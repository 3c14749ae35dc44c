// Tensors that an op may or may not get: an absent one is a null pointer.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <optional>

namespace colloc {

using Optional = std::optional<torch::stable::Tensor>;

inline Optional dense(const Optional& tensor) {
  return tensor ? Optional(torch::stable::contiguous(*tensor)) : tensor;
}

template <typename T>
const T* data(const Optional& tensor) {
  return tensor ? static_cast<const T*>(tensor->const_data_ptr()) : nullptr;
}

template <typename T>
T* mutable_data(const Optional& tensor) {
  return tensor ? static_cast<T*>(tensor->mutable_data_ptr()) : nullptr;
}

}  // namespace colloc
