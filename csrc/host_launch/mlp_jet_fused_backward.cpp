// The kernels of op mlp_jet_fused_backward on the host.
#include "cuda/mlp_jet_fused_backward_steps.h"
#include "host_launch/mlp_jet_fused.h"

namespace colloc {
namespace {

struct HostFusedDevice {
  const FusedNetwork& net;
  bool exact, backwards;
  int processors;
  size_t shared;
  std::vector<std::unique_ptr<HostMemory>> held;

  float* take(int64_t count) {
    held.push_back(std::make_unique<HostMemory>(count));
    return held.back()->data();
  }
  template <typename Body>
  void launch(const Body& body, const BlockGrid& grid) {
    host_block_launch(body, grid, backwards);
  }
  int multiprocessors() const { return processors; }
  size_t most_shared() const { return shared; }
  template <typename Form, int W>
  void forward(Form, math::Index<W>, int64_t first, int64_t groups, float* kept) {
    using Body = FusedForwardBody<Form::order, Form::inputs, W>;
    const int count = static_cast<int>(groups);
    const Body body{net,  first, count, nullptr,
                    kept, count, exact, Body::members_of(count, processors)};
    host_block_launch(body, body.grid(processors), backwards);
  }
};

// The gradients by the first layer's values (N, W) and by weights and biases, flat; those that the
// mask (see op mlp_jet_tiled_backward) does not ask for are empty.
py::tuple backward(FloatArray grad, FloatArray kept, FloatArray x, std::vector<FloatArray> weights,
                   std::vector<FloatArray> biases, std::vector<int> kinds, int order,
                   std::vector<int> wrt, int64_t kept_groups, int64_t mask, bool exact,
                   int processors, size_t shared, int64_t most_delta, int64_t most_kept,
                   bool backwards) {
  const HostFusedNetwork host(x, weights, biases, kinds, order, wrt);
  FusedSources from{};
  from.widths[0] = host.net.inputs;
  for (size_t l = 0; l < weights.size(); ++l) {
    from.weights[l] = weights[l].data();
    from.widths[l + 1] = static_cast<int>(weights[l].shape(0));
  }
  FusedBackwardCall call{host.net, from, grad.data(), nullptr,  kept_groups,
                         exact,    {},   most_delta,  most_kept};
  HostMemory aligned(kept.size());
  std::copy(kept.data(), kept.data() + kept.size(), aligned.data());
  call.kept = aligned.data();
  std::vector<std::unique_ptr<HostMemory>> made;
  const auto take = [&](int64_t bit, int64_t count) -> float* {
    if (!((mask >> bit) & 1)) count = 0;
    made.push_back(std::make_unique<HostMemory>(count));
    return count > 0 ? made.back()->data() : nullptr;
  };
  call.to.first_delta = take(0, host.net.points * weights[0].shape(0));
  const int layers = static_cast<int>(weights.size());
  for (int l = 0; l < layers; ++l) call.to.weights[l] = take(l + 1, weights[l].size());
  for (int l = 0; l < layers; ++l) call.to.biases[l] = take(l + 1, biases[l].size());
  HostFusedDevice device{host.net, exact, backwards, processors, shared, {}};
  host.with_form([&](auto form, auto width) {
    FusedBackwardSteps<decltype(form), decltype(width){}, HostFusedDevice> steps(call, device);
    if (!steps.run()) throw std::invalid_argument("shared: too small");
  });
  for (const auto& memory : device.held) memory->array();
  py::list found;
  for (const auto& memory : made) found.append(memory->array());
  return py::make_tuple(found[0], found[py::slice(1, 1 + layers, 1)],
                        found[py::slice(1 + layers, 1 + 2 * layers, 1)]);
}

}  // namespace

void add_mlp_jet_fused_backward(py::module_& m) { m.def("mlp_jet_fused_backward", &backward); }

}  // namespace colloc
