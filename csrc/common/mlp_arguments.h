// The arguments that describe a perceptron in ops mlp_jet_tiled, mlp_jet_fused and mlp_jet_squares.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <string>
#include <vector>

#include "common/jet_arguments.h"

namespace colloc {

using Tensors = std::vector<Tensor>;

// A call through the dispatcher costs more than a look at the strides.
inline Tensor dense(const Tensor& tensor) {
  return tensor.is_contiguous() ? tensor : torch::stable::contiguous(tensor);
}

// Made contiguous; an absent bias or beta is empty.
struct MlpArguments {
  Tensor x;
  Tensors weights, biases, betas;
  std::vector<math::Kind> kinds;
  math::JetOrder order;
  std::vector<int64_t> wrt;
};

// `part` (width,) of the dtype and device of x.
inline void check_part(const char* name, size_t layer, const Tensor& part, int64_t width,
                       const Tensor& x) {
  check_like(name, part, "x", x);
  STD_TORCH_CHECK(part.dim() == 1 && part.size(0) == width, name, "[", layer, "]: expected shape (",
                  width, ",), got ", shape_of(part), ".");
}

inline MlpArguments check_perceptron(const Tensor& x, const Tensors& weights, const Tensors& biases,
                                     const Tensors& betas, const std::vector<int64_t>& kinds,
                                     const std::string& order, const std::vector<int64_t>& wrt) {
  MlpArguments a{dense(x), {}, {}, {}, {}, jet_order_from(order), wrt};
  check_float("x", x.scalar_type());
  STD_TORCH_CHECK(x.dim() == 2, "x: expected shape (N, d), got ", shape_of(x), ".");
  const size_t count = weights.size();
  STD_TORCH_CHECK(count >= 2 && biases.size() == count && betas.size() + 1 == count &&
                      kinds.size() + 1 == count,
                  "weights: expected at least 2 layers, as many biases, and a beta and a kind for "
                  "each but the last, got ",
                  count, ", ", biases.size(), ", ", betas.size(), " and ", kinds.size(), ".");
  STD_TORCH_CHECK(count <= 62, "weights: expected at most 62 layers, got ", count,
                  "; the backward's mask has a bit for each.");
  STD_TORCH_CHECK(!wrt.empty() && wrt.size() <= math::max_jet_inputs, "wrt: expected 1 to ",
                  math::max_jet_inputs, " inputs, got ", wrt.size(), ".");
  for (int64_t index : wrt) {
    STD_TORCH_CHECK(index >= 0 && index < x.size(1), "wrt: expected inputs 0 to ", x.size(1) - 1,
                    ", got ", index, ".");
  }
  int64_t width = x.size(1);
  for (size_t l = 0; l < count; ++l) {
    check_like("weights", weights[l], "x", x);
    STD_TORCH_CHECK(weights[l].dim() == 2 && weights[l].size(1) == width && weights[l].size(0) >= 1,
                    "weights[", l, "]: expected shape (W, ", width, "), got ", shape_of(weights[l]),
                    ".");
    width = weights[l].size(0);
    if (biases[l].numel() > 0) check_part("biases", l, biases[l], width, x);
    a.weights.push_back(dense(weights[l]));
    a.biases.push_back(dense(biases[l]));
    if (l + 1 == count) continue;
    STD_TORCH_CHECK(kinds[l] >= 0 && kinds[l] < math::kind_count, "kinds[", l, "]: expected 0 to ",
                    math::kind_count - 1, ", got ", kinds[l], ".");
    a.kinds.push_back(static_cast<math::Kind>(kinds[l]));
    STD_TORCH_CHECK((betas[l].numel() > 0) == (a.kinds[l] == math::Kind::stan), "betas[", l,
                    "]: expected values for kind 'stan' and none for the others.");
    if (betas[l].numel() > 0) check_part("betas", l, betas[l], width, x);
    a.betas.push_back(dense(betas[l]));
  }
  return a;
}

// Null where the tensor is empty.
template <typename T>
const T* data_of(const Tensor& tensor) {
  return tensor.numel() == 0 ? nullptr : static_cast<const T*>(tensor.const_data_ptr());
}

template <typename T>
T* mutable_data_of(const Tensor& tensor) {
  return tensor.numel() == 0 ? nullptr : static_cast<T*>(tensor.mutable_data_ptr());
}

}  // namespace colloc
