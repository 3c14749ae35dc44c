// The module _host_launch (test builds alone): the bodies of the CUDA kernels, run on the host
// with the grid they have on the GPU. Arrays are NumPy's, one past their end is checked by the
// tests' guard values.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <vector>

#include "common/transfinite_body.h"
#include "cuda/adaptive_activation_backward_body.h"
#include "cuda/distance_body.h"
#include "cuda/halton_body.h"
#include "cuda/ntk_gram_block_body.h"
#include "cuda/ntk_trace_body.h"
#include "cuda/signed_distance_body.h"
#include "host_launch/arrays.h"

namespace colloc {

// In files of their own, which are compiled side by side.
void add_importance(py::module_& m);
void add_jet_activation(py::module_& m);
void add_mlp_jet_fused(py::module_& m);
void add_mlp_jet_fused_backward(py::module_& m);

namespace {

template <typename T>
void halton(Array<T> out, int64_t n, std::vector<uint64_t> primes, int64_t start, int64_t leap,
            std::optional<int64_t> seed, int64_t blocks, int64_t digit_items) {
  const int64_t dim = static_cast<int64_t>(primes.size());
  if (out.size() < n * dim) throw std::invalid_argument("out: too small");
  std::vector<math::HaltonAxis> axes;
  for (int64_t d = 0; d < dim; ++d) {
    axes.push_back(math::halton_axis(primes[d], start + leap * (n > 0 ? n - 1 : 0),
                                     seed.has_value(), static_cast<uint64_t>(seed.value_or(0)), d));
  }
  halton_bodies(axes, n, dim, start, leap, out.mutable_data(), run_on_host, run_at_most(blocks),
                digit_items);
}

void halton_quotients(Array<double> numerator, Array<double> denominator, Array<double> out) {
  for (int64_t i = 0; i < out.size(); ++i) {
    const double d = denominator.data()[i];
    out.mutable_data()[i] = math::halton_quotient_by(numerator.data()[i], d, 1.0 / d);
  }
}

template <typename T>
void forward(int kind, int64_t order, Array<T> x, Array<T> a, Array<T> beta, double scale,
             Array<T> y) {
  with_kind_and_order<math::max_activation_order>(
      static_cast<math::Kind>(kind), order, [&](auto k, auto n) {
        run_on_host(ActivationForwardBody<decltype(k)::value, decltype(n)::value, T>{
            x.data(),
            x.size(),
            {a.data(), a.size()},
            {beta.data(), beta.size()},
            static_cast<T>(scale),
            y.mutable_data()});
      });
}

template <typename T>
void backward(int kind, int64_t order, Array<T> grad, Array<T> x, Array<T> a, Array<T> beta,
              double scale, Array<T> grad_x, Array<T> grad_a, Array<T> grad_beta) {
  const int64_t slopes = std::max<int64_t>(a.size(), beta.size());
  std::vector<double> scratch(ActivationBackwardArguments<T>::scratch_size(x.size(), slopes));
  const bool stan = static_cast<math::Kind>(kind) == math::Kind::stan;
  const ActivationBackwardArguments<T> arguments{grad.data(),
                                                 x.data(),
                                                 x.size(),
                                                 {a.data(), a.size()},
                                                 {beta.data(), beta.size()},
                                                 scale,
                                                 grad_x.mutable_data(),
                                                 grad_a.mutable_data(),
                                                 stan ? grad_beta.mutable_data() : nullptr,
                                                 slopes,
                                                 scratch.data()};
  with_kind_and_order<math::max_activation_order - 1>(
      static_cast<math::Kind>(kind), order, [&](auto k, auto n) {
        activation_backward_bodies<decltype(k)::value, decltype(n)::value>(arguments,
                                                                           run_blocks_on_host);
      });
}

// A few orders stand for all, to be compiled fast: the value alone, one in the precision of the
// points, two in double, of which the third derivatives have no sweep.
template <typename T>
void distance(int order, int64_t points, int64_t count, Array<T> x, Array<double> pieces,
              Array<int64_t> on, int m, double length, Array<T> out) {
  using math::JetOrder;
  const double curving = 1.0 / (length * length);
  const DistanceArrays<T> arrays{points,
                                 count,
                                 x.data(),
                                 reinterpret_cast<const math::Piece*>(pieces.data()),
                                 read(on),
                                 m,
                                 static_cast<T>(curving),
                                 out.mutable_data()};
  std::vector<Sixteen<double>> memory(distance_memory(count) / sizeof(Sixteen<double>) + 1);
  const auto run = [&](auto wanted) {
    distance_bodies_of<decltype(wanted)::value>(arrays, curving, memory.data(), run_on_host);
  };
  switch (static_cast<JetOrder>(order)) {
    case JetOrder::value:
      return run(std::integral_constant<JetOrder, JetOrder::value>{});
    case JetOrder::laplacian:
      return run(std::integral_constant<JetOrder, JetOrder::laplacian>{});
    case JetOrder::second:
      return run(std::integral_constant<JetOrder, JetOrder::second>{});
    case JetOrder::third:
      return run(std::integral_constant<JetOrder, JetOrder::third>{});
    default:
      throw std::invalid_argument("order: not compiled here");
  }
}

template <bool Slope, typename T>
void signed_distance(int64_t points, int64_t straight_count, int64_t circular_count, Array<T> x,
                     Array<double> straight, Array<double> circular, double size, Array<T> out) {
  const SignedDistanceArrays<T> arrays{
      points,
      straight_count,
      circular_count,
      x.data(),
      reinterpret_cast<const math::StraightPiece*>(straight.data()),
      reinterpret_cast<const math::CircularPiece*>(circular.data()),
      static_cast<T>(size),
      out.mutable_data()};
  const int64_t bytes = signed_distance_memory(straight_count, circular_count);
  std::vector<Sixteen<double>> memory(bytes / sizeof(Sixteen<double>) + 1);
  signed_distance_bodies<Slope>(arrays, memory.data(), run_on_host);
}

template <typename T>
void transfinite(int order, int n, int64_t points, int64_t groups, Array<T> phi, Array<int64_t> mu,
                 double length, Array<T> out) {
  using math::JetOrder;
  const TransfiniteArrays arrays{sizeof(T) == 4,    points, groups, phi.data(), mu.data(), length,
                                 out.mutable_data()};
  const auto wanted = static_cast<JetOrder>(order);
  if (wanted == JetOrder::value) {
    return run_on_host(TransfiniteBody<JetOrder::value, 1>{arrays});
  }
  if (wanted == JetOrder::laplacian) {
    return with_transfinite_body<JetOrder::laplacian>(n, arrays, run_on_host);
  }
  if (wanted == JetOrder::third && n == 2) {
    return run_on_host(TransfiniteBody<JetOrder::third, 2>{arrays});
  }
  throw std::invalid_argument("order: not compiled here");
}

template <typename T>
void ntk_trace(int64_t points, int64_t size, int64_t in, int64_t out, Array<T> h, Array<T> zbar,
               Array<double> squares, int64_t blocks) {
  ntk_trace_body(
      NtkTraceArrays<T>{points, size, in, out, h.data(), zbar.data(), squares.mutable_data()},
      run_at_most(blocks));
}

template <typename T>
void ntk_gram_block(int64_t n1, int64_t size1, int64_t n2, int64_t size2, Array<T> hh, Array<T> zz,
                    Array<T> out) {
  run_on_host(NtkGramBody<T>{n1, size1, n2, size2, hh.data(), zz.data(), out.mutable_data()});
}

}  // namespace
}  // namespace colloc

PYBIND11_MODULE(_host_launch, m) {
  m.doc() = "Bodies of colloc's CUDA kernels, run on the host (tests)";
  m.def("halton_float32", &colloc::halton<float>);
  m.def("halton_float64", &colloc::halton<double>);
  m.def("halton_quotients", &colloc::halton_quotients);
  m.def("forward_float32", &colloc::forward<float>);
  m.def("forward_float64", &colloc::forward<double>);
  m.def("backward_float32", &colloc::backward<float>);
  m.def("backward_float64", &colloc::backward<double>);
  m.def("distance_float32", &colloc::distance<float>);
  m.def("distance_float64", &colloc::distance<double>);
  m.def("signed_distance_float32", &colloc::signed_distance<false, float>);
  m.def("signed_distance_float64", &colloc::signed_distance<false, double>);
  m.def("signed_distance_slope_float32", &colloc::signed_distance<true, float>);
  m.def("signed_distance_slope_float64", &colloc::signed_distance<true, double>);
  m.def("ntk_trace_float32", &colloc::ntk_trace<float>);
  m.def("ntk_trace_float64", &colloc::ntk_trace<double>);
  m.def("ntk_gram_block_float32", &colloc::ntk_gram_block<float>);
  m.def("ntk_gram_block_float64", &colloc::ntk_gram_block<double>);
  m.def("transfinite_float32", &colloc::transfinite<float>);
  m.def("transfinite_float64", &colloc::transfinite<double>);
  colloc::add_importance(m);
  colloc::add_jet_activation(m);
  colloc::add_mlp_jet_fused(m);
  colloc::add_mlp_jet_fused_backward(m);
}
