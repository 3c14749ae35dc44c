// Ops jet_activation, jet_activation_backward and jet_activation_tangent on the GPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <tuple>

#include "common/box.h"
#include "common/jet_arguments.h"
#include "common/launch.cuh"
#include "common/optional_tensor.h"
#include "cuda/jet_activation_body.h"

namespace colloc {
namespace {

using torch::stable::accelerator::DeviceGuard;

// Everything that one of the three ops reads and writes; what it does not is empty.
struct Call {
  JetArguments arguments;
  Optional y, columns, bias, beta, g, out, h, by_beta;
};

// With the device of y current.
Call prepare(const JetArguments& arguments, const Tensor& y, const Optional& columns,
             const Optional& bias, const Optional& beta) {
  return {arguments, dense(y), dense(columns), dense(bias), dense(beta)};
}

Tensor jet_like(const Call& call) {
  const JetArguments& a = call.arguments;
  return empty_of(*call.y, {a.points, a.size, a.width});
}

template <JetWork Work, typename T>
void run_as(const Call& call) {
  const JetArguments& a = call.arguments;
  const JetArrays<T> arrays{a.kind,
                            a.points,
                            a.width,
                            data<T>(call.y),
                            data<T>(call.columns),
                            data<T>(call.bias),
                            data<T>(call.beta),
                            data<T>(call.g),
                            mutable_data<T>(call.out),
                            mutable_data<T>(call.h),
                            mutable_data<T>(call.by_beta)};
  const int32_t device = call.y->get_device_index();
  with_jet_body<Work>(a.order, a.n, arrays,
                      [&](const auto& body) { launch(body, body.grid(), device); });
}

template <JetWork Work>
void run(const Call& call) {
  if (call.arguments.points == 0 || call.arguments.width == 0) return;
  if (call.y->scalar_type() == ScalarType::Float) {
    run_as<Work, float>(call);
  } else {
    run_as<Work, double>(call);
  }
}

Tensor forward(const Tensor& y, const Optional& columns, const Optional& bias, const Optional& beta,
               const std::string& kind, const std::string& order, int64_t n) {
  const JetArguments arguments = check_jet(y, columns, bias, beta, kind, order, n);
  const DeviceGuard guard(y.get_device_index());
  Call call = prepare(arguments, y, columns, bias, beta);
  call.h = jet_like(call);
  run<JetWork::forward>(call);
  return *call.h;
}

std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& grad, const Tensor& y,
                                            const Optional& columns, const Optional& bias,
                                            const Optional& beta, const std::string& kind,
                                            const std::string& order, int64_t n) {
  const JetArguments arguments = check_jet(y, columns, bias, beta, kind, order, n);
  check_full_jet("grad", grad, arguments, y);
  const DeviceGuard guard(y.get_device_index());
  Call call = prepare(arguments, y, columns, bias, beta);
  call.g = dense(grad);
  call.out = jet_like(call);
  call.h = jet_like(call);
  if (beta) call.by_beta = empty_of(y, {arguments.points, arguments.width});
  run<JetWork::backward>(call);
  return {*call.out, *call.h, call.by_beta ? *call.by_beta : empty_of(y, {0})};
}

Tensor tangent(const Tensor& v, const Tensor& y, const Optional& columns, const Optional& bias,
               const Optional& beta, const std::string& kind, const std::string& order, int64_t n) {
  const JetArguments arguments = check_jet(y, columns, bias, beta, kind, order, n);
  check_full_jet("v", v, arguments, y);
  const DeviceGuard guard(y.get_device_index());
  Call call = prepare(arguments, y, columns, bias, beta);
  call.g = dense(v);
  call.out = jet_like(call);
  run<JetWork::tangent>(call);
  return *call.out;
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CUDA, m) {
  m.impl("jet_activation", COLLOC_BOX(&colloc::forward));
  m.impl("jet_activation_backward", COLLOC_BOX(&colloc::backward));
  m.impl("jet_activation_tangent", COLLOC_BOX(&colloc::tangent));
}
