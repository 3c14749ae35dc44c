// The kernels of the jet ops on the host.
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <type_traits>

#include "cuda/jet_activation_body.h"
#include "host_launch/arrays.h"

namespace colloc {
namespace {

// Numbers of 16 bits are uint16 to NumPy, which has no bfloat16.
template <typename S>
using Stored = std::conditional_t<sizeof(S) == 2, uint16_t, S>;

template <JetWork Work, typename T, typename S = T>
void jet(int kind, int order, int n, int64_t points, int64_t width, Array<Stored<S>> y,
         Array<T> value, Array<Stored<S>> columns, Array<T> bias, Array<T> beta, Array<Stored<S>> g,
         Array<Stored<S>> out, Array<Stored<S>> h, Array<T> by_beta) {
  const JetArrays<T, S> arrays{static_cast<math::Kind>(kind),
                               points,
                               width,
                               reinterpret_cast<const S*>(read(y)),
                               read(value),
                               reinterpret_cast<const S*>(read(columns)),
                               read(bias),
                               read(beta),
                               reinterpret_cast<const S*>(read(g)),
                               reinterpret_cast<S*>(written(out)),
                               reinterpret_cast<S*>(written(h)),
                               written(by_beta)};
  with_jet_body<Work>(static_cast<math::JetOrder>(order), n, arrays, run_on_host);
}

}  // namespace

void add_jet_activation(py::module_& m) {
  m.def("jet_forward_float32", &jet<JetWork::forward, float>);
  m.def("jet_forward_float64", &jet<JetWork::forward, double>);
  m.def("jet_forward_float16", &jet<JetWork::forward, float, c10::Half>);
  m.def("jet_forward_bfloat16", &jet<JetWork::forward, float, c10::BFloat16>);
  m.def("jet_backward_float16", &jet<JetWork::backward, float, c10::Half>);
  m.def("jet_backward_bfloat16", &jet<JetWork::backward, float, c10::BFloat16>);
  m.def("jet_backward_float32", &jet<JetWork::backward, float>);
  m.def("jet_backward_float64", &jet<JetWork::backward, double>);
  m.def("jet_tangent_float32", &jet<JetWork::tangent, float>);
  m.def("jet_tangent_float64", &jet<JetWork::tangent, double>);
}

}  // namespace colloc
