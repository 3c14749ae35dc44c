// The forward kernel of op mlp_jet_fused on the host.
#include "host_launch/mlp_jet_fused.h"

namespace colloc {
namespace {

// Jets (points, K, outputs) and what is kept of the first groups; blocks: at most so many.
py::tuple forward(FloatArray x, std::vector<FloatArray> weights, std::vector<FloatArray> biases,
                  std::vector<int> kinds, int order, std::vector<int> wrt, int kept_groups,
                  bool exact, int blocks, bool backwards) {
  const HostFusedNetwork host(x, weights, biases, kinds, order, wrt);
  py::tuple found;
  host.with_form([&](auto form, auto width) {
    using Form = decltype(form);
    constexpr int W = decltype(width){};
    using Body = FusedForwardBody<Form::order, Form::inputs, W>;
    const FusedNetwork& net = host.net;
    HostMemory out(net.points * Body::K * net.outputs);
    HostMemory kept(kept_groups * FusedKept<W, Body::K>::per_group(net.hidden));
    const int groups = static_cast<int>(net.groups());
    const Body body{net,
                    0,
                    groups,
                    out.data(),
                    kept_groups > 0 ? kept.data() : nullptr,
                    kept_groups,
                    exact,
                    Body::members_of(groups, blocks)};
    host_block_launch(body, body.grid(blocks), backwards);
    host.packed->array();
    found = py::make_tuple(out.array(), kept.array());
  });
  return found;
}

}  // namespace

void add_mlp_jet_fused(py::module_& m) { m.def("mlp_jet_fused", &forward); }

}  // namespace colloc
