// The arguments of ops mlp_jet_tiled and mlp_jet_squares.
#pragma once

#include <string>
#include <vector>

#include "common/mlp_arguments.h"
#include "cpu/mlp_jet.h"

namespace colloc {

// Refuses a perceptron that is none, and a torch whose BLAS was not found.
MlpArguments check_mlp(const Tensor& x, const Tensors& weights, const Tensors& biases,
                       const Tensors& betas, const std::vector<int64_t>& kinds,
                       const std::string& order, const std::vector<int64_t>& wrt);

template <typename T>
TiledNetwork<T> network_of(const MlpArguments& a);

}  // namespace colloc
