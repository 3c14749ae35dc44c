// Ops mlp_jet_tiled and mlp_jet_tiled_backward on the CPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <tuple>

#include "common/box.h"
#include "cpu/blas.h"
#include "cpu/mlp_jet_arguments.h"
#include "cpu/pool.h"

namespace colloc {
namespace {

// An uninitialised (rows, columns) tensor like x, from the pool where it is large.
Tensor pooled(const Tensor& x, int64_t rows, int64_t columns) {
  const size_t bytes = static_cast<size_t>(rows * columns) * x.element_size();
  void* block = bytes < pool_smallest ? nullptr : pool_take(bytes);
  if (block == nullptr) return empty_of(x, {rows, columns});
  return torch::stable::from_blob(block, {rows, columns}, {columns, 1}, x.device(), x.scalar_type(),
                                  pool_give);
}

template <typename T>
std::tuple<Tensor, Tensor> run_forward(const MlpArguments& a, int64_t kept_points) {
  const TiledNetwork<T> net = network_of<T>(a);
  STD_TORCH_CHECK(kept_points >= 0 && kept_points <= net.points, "kept_points: expected 0 to ",
                  net.points, ", the number of points, got ", kept_points, ".");
  Tensor out = empty_of(a.x, {net.points, net.size, net.layers.back().out});
  Tensor kept = pooled(a.x, kept_points, net.kept_per_point());
  if (net.points > 0) {
    net.forward(static_cast<T*>(out.mutable_data_ptr()), static_cast<T*>(kept.mutable_data_ptr()),
                kept_points);
  }
  return {out, kept};
}

std::tuple<Tensor, Tensor> forward(const Tensor& x, const Tensors& weights, const Tensors& biases,
                                   const Tensors& betas, const std::vector<int64_t>& kinds,
                                   const std::string& order, const std::vector<int64_t>& wrt,
                                   int64_t kept_points) {
  const MlpArguments a = check_mlp(x, weights, biases, betas, kinds, order, wrt);
  return x.scalar_type() == ScalarType::Float ? run_forward<float>(a, kept_points)
                                              : run_forward<double>(a, kept_points);
}

using Gradients = std::tuple<Tensor, Tensors, Tensors, Tensors>;

template <typename T>
Gradients run_backward(const Tensor& grad, const Tensor& kept, const MlpArguments& a,
                       int64_t mask) {
  const TiledNetwork<T> net = network_of<T>(a);
  STD_TORCH_CHECK(grad.dim() == 3 && grad.size(0) == net.points && grad.size(1) == net.size &&
                      grad.size(2) == net.layers.back().out,
                  "grad: expected shape (", net.points, ", ", net.size, ", ", net.layers.back().out,
                  "), got ", shape_of(grad), ".");
  STD_TORCH_CHECK(
      kept.dim() == 2 && kept.size(0) <= net.points && kept.size(1) == net.kept_per_point(),
      "kept: expected what the forward gave, got shape ", shape_of(kept), ".");
  const auto result = [](bool wanted, const Tensor& like) {
    return empty_of(like, wanted ? like.sizes() : torch::headeronly::IntHeaderOnlyArrayRef{0});
  };
  Tensor grad_x = result(mask & 1, a.x);
  Tensors weights, biases, betas;
  TiledGradients<T> gradients;
  for (size_t l = 0; l < a.weights.size(); ++l) {
    const bool wanted = (mask >> (l + 1)) & 1;
    weights.push_back(result(wanted, a.weights[l]));
    biases.push_back(result(wanted, a.biases[l]));
    gradients.weight.push_back(mutable_data_of<T>(weights[l]));
    gradients.bias.push_back(mutable_data_of<T>(biases[l]));
    gradients.beta.push_back(nullptr);
    if (l + 1 == a.weights.size()) continue;
    betas.push_back(result(wanted, a.betas[l]));
    gradients.beta[l] = mutable_data_of<T>(betas[l]);
  }
  gradients.x = mutable_data_of<T>(grad_x);
  const Tensor dense_grad = dense(grad), dense_kept = dense(kept);
  net.backward(static_cast<const T*>(dense_grad.const_data_ptr()),
               static_cast<const T*>(dense_kept.const_data_ptr()), kept.size(0), gradients);
  return {grad_x, weights, biases, betas};
}

Gradients backward(const Tensor& grad, const Tensor& kept, const Tensor& x, const Tensors& weights,
                   const Tensors& biases, const Tensors& betas, const std::vector<int64_t>& kinds,
                   const std::string& order, const std::vector<int64_t>& wrt, int64_t mask) {
  const MlpArguments a = check_mlp(x, weights, biases, betas, kinds, order, wrt);
  check_like("grad", grad, "x", x);
  check_like("kept", kept, "x", x);
  return x.scalar_type() == ScalarType::Float ? run_backward<float>(grad, kept, a, mask)
                                              : run_backward<double>(grad, kept, a, mask);
}

bool available() { return has_blas(); }

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CPU, m) {
  m.impl("mlp_jet_tiled", COLLOC_BOX(&colloc::forward));
  m.impl("mlp_jet_tiled_backward", COLLOC_BOX(&colloc::backward));
}

STABLE_TORCH_LIBRARY_IMPL(colloc, CompositeExplicitAutograd, m) {
  m.impl("has_tiled_mlp_jet", COLLOC_BOX(&colloc::available));
  m.impl("release_jet_memory", COLLOC_BOX(&colloc::pool_release));
}
