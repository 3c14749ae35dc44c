// Ops mlp_jet_fused and mlp_jet_fused_backward on the GPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <tuple>

#include "common/block_launch.cuh"
#include "common/box.h"
#include "common/launch.cuh"
#include "common/mlp_arguments.h"
#include "cuda/mlp_jet_fused_backward_steps.h"
#include "cuda/mlp_jet_fused_input_body.h"
#include "cuda/mlp_jet_fused_launch.h"

namespace colloc {
namespace {

using torch::stable::accelerator::DeviceGuard;

// Floats of the backward's scratch memory at most: gradients between its kernels, and
// pre-activations that are made again. Gradients that would stay in the second cache (1 << 23) take
// more launches, and were slower (2.72 ms a step in place of 2.43 at 4 x 128, N = 100,000 on an
// H100).
constexpr int64_t most_delta = int64_t{1} << 26, most_again = int64_t{1} << 27;

// A network that the kernels take, with its parameters in their order.
struct FusedCall {
  MlpArguments arguments;
  FusedChoice choice;
  FusedSources from;
  FusedNetwork net;
  Tensor packed;
  int size;  // K

  int64_t kept_per_group() const { return fused_kept_per_group(choice.width, size, net.hidden); }
};

void check_fused(const MlpArguments& a) {
  const int64_t inputs = a.x.size(1), outputs = a.weights.back().size(0);
  STD_TORCH_CHECK(a.x.is_cuda(), "x: expected a tensor on a GPU.");
  STD_TORCH_CHECK(a.x.scalar_type() == ScalarType::Float, "x: expected float32, got ",
                  dtype_name(a.x.scalar_type()), ".");
  STD_TORCH_CHECK(inputs <= most_fused_inputs, "x: expected at most ", most_fused_inputs,
                  " inputs, got ", inputs, ".");
  STD_TORCH_CHECK(outputs <= most_fused_outputs, "weights: expected at most ", most_fused_outputs,
                  " outputs, got ", outputs, ".");
  for (size_t l = 0; l + 1 < a.weights.size(); ++l) {
    STD_TORCH_CHECK(a.weights[l].size(0) <= widest_fused, "weights[", l, "]: expected at most ",
                    widest_fused, " neurons, got ", a.weights[l].size(0), ".");
    STD_TORCH_CHECK(a.kinds[l] != math::Kind::stan, "kinds[", l,
                    "]: expected a kind without beta, got 'stan'.");
  }
  STD_TORCH_CHECK(a.x.size(0) <= most_fused_points, "x: expected at most ", most_fused_points,
                  " points, got ", a.x.size(0), ".");
  STD_TORCH_CHECK(
      with_fused_form(a.order, static_cast<int>(a.wrt.size()), [](auto) {}),
      "order: expected '0', '1' in up to 3 inputs, '2' in up to 2, or 'laplacian' in up "
      "to 3, got '",
      jet_order_names[static_cast<int>(a.order)], "' in ", a.wrt.size(), ".");
}

// With the device of x current.
FusedCall prepare(MlpArguments arguments) {
  FusedCall call{std::move(arguments), {}, {}, {}, Tensor(), 0};
  const MlpArguments& a = call.arguments;
  FusedNetwork& net = call.net;
  FusedSources& from = call.from;
  net.points = a.x.size(0);
  net.inputs = static_cast<int>(a.x.size(1));
  net.hidden = static_cast<int>(a.kinds.size());
  net.outputs = static_cast<int>(a.weights.back().size(0));
  net.x = data_of<float>(a.x);
  for (size_t i = 0; i < a.wrt.size(); ++i) net.wrt[i] = static_cast<int>(a.wrt[i]);
  int widest = 0;
  from.widths[0] = net.inputs;
  for (int l = 0; l <= net.hidden; ++l) {
    from.weights[l] = data_of<float>(a.weights[l]);
    from.biases[l] = data_of<float>(a.biases[l]);
    from.widths[l + 1] = static_cast<int>(a.weights[l].size(0));
    if (l == net.hidden) break;
    net.kinds[l] = static_cast<uint8_t>(a.kinds[l]);
    widest = std::max(widest, from.widths[l + 1]);
  }
  call.choice = {a.order, static_cast<int>(a.wrt.size()), fused_width(widest),
                 a.x.get_device_index()};
  call.size = math::jet_size(a.order, call.choice.n);
  if (net.points == 0) return call;
  const FusedWeights to{call.choice.width, net.inputs, net.hidden, net.outputs};
  call.packed = empty_of(a.x, {to.size()});
  float* packed = mutable_data_of<float>(call.packed);
  net.packed = packed;
  const auto pack = [&](auto width) {
    const FusedWeightsBody<decltype(width){}> body{from, to, packed};
    launch_blocks(body, body.grid(), call.choice.device);
  };
  if (call.choice.width == 64) {
    pack(math::Index<64>{});
  } else {
    pack(math::Index<128>{});
  }
  return call;
}

std::tuple<Tensor, Tensor> forward(const Tensor& x, const Tensors& weights, const Tensors& biases,
                                   const Tensors& betas, const std::vector<int64_t>& kinds,
                                   const std::string& order, const std::vector<int64_t>& wrt,
                                   int64_t kept_points, bool exact) {
  MlpArguments arguments = check_perceptron(x, weights, biases, betas, kinds, order, wrt);
  check_fused(arguments);
  const DeviceGuard guard(x.get_device_index());
  STD_TORCH_CHECK(kept_points >= 0 && kept_points <= x.size(0), "kept_points: expected 0 to ",
                  x.size(0), ", the number of points, got ", kept_points, ".");
  const FusedCall call = prepare(std::move(arguments));
  const FusedNetwork& net = call.net;
  const int64_t kept_groups = (kept_points + fused_group - 1) / fused_group;
  Tensor out = empty_of(x, {net.points, call.size, net.outputs});
  Tensor kept = empty_of(x, {kept_groups, call.kept_per_group()});
  if (net.points > 0) {
    launch_fused_forward(call.choice, net, 0, net.groups(), mutable_data_of<float>(out),
                         mutable_data_of<float>(kept), kept_groups, exact);
  }
  return {out, kept};
}

using Gradients = std::tuple<Tensor, Tensors, Tensors, Tensors>;

Gradients backward(const Tensor& grad, const Tensor& kept, const Tensor& x, const Tensors& weights,
                   const Tensors& biases, const Tensors& betas, const std::vector<int64_t>& kinds,
                   const std::string& order, const std::vector<int64_t>& wrt, int64_t mask,
                   bool exact) {
  MlpArguments arguments = check_perceptron(x, weights, biases, betas, kinds, order, wrt);
  check_fused(arguments);
  const DeviceGuard guard(x.get_device_index());
  check_like("grad", grad, "x", x);
  check_like("kept", kept, "x", x);
  const FusedCall call = prepare(std::move(arguments));
  const MlpArguments& a = call.arguments;
  const FusedNetwork& net = call.net;
  STD_TORCH_CHECK(grad.dim() == 3 && grad.size(0) == net.points && grad.size(1) == call.size &&
                      grad.size(2) == net.outputs,
                  "grad: expected shape (", net.points, ", ", call.size, ", ", net.outputs,
                  "), got ", shape_of(grad), ".");
  STD_TORCH_CHECK(
      kept.dim() == 2 && kept.size(0) <= net.groups() && kept.size(1) == call.kept_per_group(),
      "kept: expected what the forward gave, got shape ", shape_of(kept), ".");
  const auto result = [](bool wanted, const Tensor& like) {
    return empty_of(like, wanted ? like.sizes() : torch::headeronly::IntHeaderOnlyArrayRef{0});
  };
  const Tensor dense_grad = dense(grad), dense_kept = dense(kept);
  FusedBackwardCall down{};
  down.net = net;
  down.from = call.from;
  down.grad = data_of<float>(dense_grad);
  down.kept = data_of<float>(dense_kept);
  down.kept_groups = kept.size(0);
  down.exact = exact;
  down.most_delta = most_delta;
  down.most_kept = most_again;
  Tensor by_x = result(mask & 1, a.x), by_first = empty_of(x, {0});
  Tensors by_weights, by_biases, by_betas;
  for (size_t l = 0; l < a.weights.size(); ++l) {
    const bool wanted = (mask >> (l + 1)) & 1;
    by_weights.push_back(result(wanted, a.weights[l]));
    by_biases.push_back(result(wanted, a.biases[l]));
    if (l + 1 < a.weights.size()) by_betas.push_back(result(false, a.betas[l]));
    down.to.weights[l] = mutable_data_of<float>(by_weights[l]);
    down.to.biases[l] = mutable_data_of<float>(by_biases[l]);
  }
  if (by_x.numel() > 0) {
    by_first = empty_of(x, {net.points, call.from.widths[1]});
    down.to.first_delta = mutable_data_of<float>(by_first);
  }
  if (net.points == 0) {
    for (Tensors* all : {&by_weights, &by_biases}) {
      for (Tensor& one : *all) torch::stable::zero_(one);
    }
    return {by_x, by_weights, by_biases, by_betas};
  }
  STD_TORCH_CHECK(launch_fused_backward(call.choice, down, x),
                  "mlp_jet_fused_backward: this device has too little shared memory for a block.");
  if (by_x.numel() > 0) {
    const FusedInputBody body{net.points,           call.from.widths[1],
                              net.inputs,           down.to.first_delta,
                              call.from.weights[0], mutable_data_of<float>(by_x)};
    launch(body, body.grid(), call.choice.device);
  }
  return {by_x, by_weights, by_biases, by_betas};
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CUDA, m) {
  m.impl("mlp_jet_fused", COLLOC_BOX(&colloc::forward));
  m.impl("mlp_jet_fused_backward", COLLOC_BOX(&colloc::backward));
}
