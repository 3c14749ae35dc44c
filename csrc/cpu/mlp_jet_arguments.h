// The arguments that describe a perceptron in ops mlp_jet_tiled and mlp_jet_squares.
#pragma once

#include <string>
#include <vector>

#include "common/jet_arguments.h"
#include "cpu/mlp_jet.h"

namespace colloc {

using Tensors = std::vector<Tensor>;

// A call through the dispatcher costs more than a look at the strides.
Tensor dense(const Tensor& tensor);

// Made contiguous; an absent bias or beta is empty.
struct MlpArguments {
  Tensor x;
  Tensors weights, biases, betas;
  std::vector<math::Kind> kinds;
  math::JetOrder order;
  std::vector<int64_t> wrt;
};

// `part` (width,) of the dtype and device of x.
void check_part(const char* name, size_t layer, const Tensor& part, int64_t width, const Tensor& x);

MlpArguments check_mlp(const Tensor& x, const Tensors& weights, const Tensors& biases,
                       const Tensors& betas, const std::vector<int64_t>& kinds,
                       const std::string& order, const std::vector<int64_t>& wrt);

template <typename T>
TiledNetwork<T> network_of(const MlpArguments& a);

// Null where the tensor is empty.
template <typename T>
const T* data_of(const Tensor& tensor) {
  return tensor.numel() == 0 ? nullptr : static_cast<const T*>(tensor.const_data_ptr());
}

}  // namespace colloc
