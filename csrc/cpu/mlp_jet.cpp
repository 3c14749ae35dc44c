// Ops mlp_jet_tiled and mlp_jet_tiled_backward on the CPU.
#include "cpu/mlp_jet.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <tuple>

#include "common/jet_arguments.h"
#include "cpu/blas.h"
#include "cpu/pool.h"
#include "cpu/select.h"

namespace colloc {
namespace {

using Tensors = std::vector<Tensor>;

template <typename T>
JetKernels<T> selected_kernels();
template <>
JetKernels<float> selected_kernels<float>() {
  return COLLOC_SELECT(jet_float);
}
template <>
JetKernels<double> selected_kernels<double>() {
  return COLLOC_SELECT(jet_double);
}

// A call through the dispatcher costs more than a look at the strides.
Tensor dense(const Tensor& tensor) {
  return tensor.is_contiguous() ? tensor : torch::stable::contiguous(tensor);
}

// The arguments that describe a network, made contiguous; an absent bias or beta is empty.
struct Arguments {
  Tensor x;
  Tensors weights, biases, betas;
  std::vector<math::Kind> kinds;
  math::JetOrder order;
  std::vector<int64_t> wrt;
};

void check_part(const char* name, size_t layer, const Tensor& part, int64_t width,
                const Tensor& x) {
  check_like(name, part, "x", x);
  STD_TORCH_CHECK(part.dim() == 1 && part.size(0) == width, name, "[", layer, "]: expected shape (",
                  width, ",), got ", shape_of(part), ".");
}

Arguments check(const Tensor& x, const Tensors& weights, const Tensors& biases,
                const Tensors& betas, const std::vector<int64_t>& kinds, const std::string& order,
                const std::vector<int64_t>& wrt) {
  Arguments a{dense(x), {}, {}, {}, {}, jet_order_from(order), wrt};
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
  STD_TORCH_CHECK(has_blas(), "mlp_jet_tiled: torch's BLAS was not found in libtorch_cpu.so.");
  return a;
}

template <typename T>
const T* data(const Tensor& tensor) {
  return tensor.numel() == 0 ? nullptr : static_cast<const T*>(tensor.const_data_ptr());
}

template <typename T>
T* mutable_data(const Tensor& tensor) {
  return tensor.numel() == 0 ? nullptr : static_cast<T*>(tensor.mutable_data_ptr());
}

template <typename T>
TiledNetwork<T> network(const Arguments& a) {
  TiledNetwork<T> net{};
  const size_t count = a.weights.size();
  for (size_t l = 0; l < count; ++l) {
    const bool hidden = l + 1 < count;
    net.layers.push_back({a.weights[l].size(1), a.weights[l].size(0), data<T>(a.weights[l]),
                          data<T>(a.biases[l]), hidden ? data<T>(a.betas[l]) : nullptr,
                          hidden ? a.kinds[l] : math::Kind::identity});
  }
  net.order = a.order;
  net.n = static_cast<int>(a.wrt.size());
  net.size = math::jet_size(net.order, net.n);
  net.points = a.x.size(0);
  net.inputs = a.x.size(1);
  net.x = data<T>(a.x);
  net.wrt = a.wrt;
  net.kernels = selected_kernels<T>();
  return net;
}

// An uninitialised (rows, columns) tensor like x, from the pool where it is large.
Tensor pooled(const Tensor& x, int64_t rows, int64_t columns) {
  const size_t bytes = static_cast<size_t>(rows * columns) * x.element_size();
  void* block = bytes < pool_smallest ? nullptr : pool_take(bytes);
  if (block == nullptr) return empty_of(x, {rows, columns});
  return torch::stable::from_blob(block, {rows, columns}, {columns, 1}, x.device(), x.scalar_type(),
                                  pool_give);
}

template <typename T>
std::tuple<Tensor, Tensor> run_forward(const Arguments& a, int64_t kept_points) {
  const TiledNetwork<T> net = network<T>(a);
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
  const Arguments a = check(x, weights, biases, betas, kinds, order, wrt);
  return x.scalar_type() == ScalarType::Float ? run_forward<float>(a, kept_points)
                                              : run_forward<double>(a, kept_points);
}

using Gradients = std::tuple<Tensor, Tensors, Tensors, Tensors>;

template <typename T>
Gradients run_backward(const Tensor& grad, const Tensor& kept, const Arguments& a, int64_t mask) {
  const TiledNetwork<T> net = network<T>(a);
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
    gradients.weight.push_back(mutable_data<T>(weights[l]));
    gradients.bias.push_back(mutable_data<T>(biases[l]));
    gradients.beta.push_back(nullptr);
    if (l + 1 == a.weights.size()) continue;
    betas.push_back(result(wanted, a.betas[l]));
    gradients.beta[l] = mutable_data<T>(betas[l]);
  }
  gradients.x = mutable_data<T>(grad_x);
  const Tensor dense_grad = dense(grad), dense_kept = dense(kept);
  net.backward(static_cast<const T*>(dense_grad.const_data_ptr()),
               static_cast<const T*>(dense_kept.const_data_ptr()), kept.size(0), gradients);
  return {grad_x, weights, biases, betas};
}

Gradients backward(const Tensor& grad, const Tensor& kept, const Tensor& x, const Tensors& weights,
                   const Tensors& biases, const Tensors& betas, const std::vector<int64_t>& kinds,
                   const std::string& order, const std::vector<int64_t>& wrt, int64_t mask) {
  const Arguments a = check(x, weights, biases, betas, kinds, order, wrt);
  check_like("grad", grad, "x", x);
  check_like("kept", kept, "x", x);
  return x.scalar_type() == ScalarType::Float ? run_backward<float>(grad, kept, a, mask)
                                              : run_backward<double>(grad, kept, a, mask);
}

bool available() { return has_blas(); }

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CPU, m) {
  m.impl("mlp_jet_tiled", TORCH_BOX(&colloc::forward));
  m.impl("mlp_jet_tiled_backward", TORCH_BOX(&colloc::backward));
}

STABLE_TORCH_LIBRARY_IMPL(colloc, CompositeExplicitAutograd, m) {
  m.impl("has_tiled_mlp_jet", TORCH_BOX(&colloc::available));
  m.impl("release_jet_memory", TORCH_BOX(&colloc::pool_release));
}
