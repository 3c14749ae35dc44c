#include "cpu/mlp_jet_arguments.h"

#include "cpu/blas.h"
#include "cpu/select.h"

namespace colloc {
namespace {

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

}  // namespace

MlpArguments check_mlp(const Tensor& x, const Tensors& weights, const Tensors& biases,
                       const Tensors& betas, const std::vector<int64_t>& kinds,
                       const std::string& order, const std::vector<int64_t>& wrt) {
  MlpArguments a = check_perceptron(x, weights, biases, betas, kinds, order, wrt);
  STD_TORCH_CHECK(has_blas(), "mlp_jet_tiled: torch's BLAS was not found in libtorch_cpu.so.");
  return a;
}

template <typename T>
TiledNetwork<T> network_of(const MlpArguments& a) {
  TiledNetwork<T> net{};
  const size_t count = a.weights.size();
  for (size_t l = 0; l < count; ++l) {
    const bool hidden = l + 1 < count;
    net.layers.push_back({a.weights[l].size(1), a.weights[l].size(0), data_of<T>(a.weights[l]),
                          data_of<T>(a.biases[l]), hidden ? data_of<T>(a.betas[l]) : nullptr,
                          hidden ? a.kinds[l] : math::Kind::identity});
  }
  net.order = a.order;
  net.n = static_cast<int>(a.wrt.size());
  net.size = math::jet_size(net.order, net.n);
  net.points = a.x.size(0);
  net.inputs = a.x.size(1);
  net.x = data_of<T>(a.x);
  net.wrt = a.wrt;
  net.kernels = selected_kernels<T>();
  return net;
}

template TiledNetwork<float> network_of<float>(const MlpArguments& a);
template TiledNetwork<double> network_of<double>(const MlpArguments& a);

}  // namespace colloc
