// Ops jet_activation, jet_activation_backward and jet_activation_tangent on the GPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cstdint>
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

template <JetWork Work, typename T, typename S = T>
void run_as(const Call& call) {
  const JetArguments& a = call.arguments;
  const JetArrays<T, S> arrays{a.kind,
                               a.points,
                               a.width,
                               call.columns ? nullptr : data<S>(call.y),
                               call.columns ? data<T>(call.y) : nullptr,
                               data<S>(call.columns),
                               data<T>(call.bias),
                               data<T>(call.beta),
                               data<S>(call.g),
                               mutable_data<S>(call.out),
                               mutable_data<S>(call.h),
                               mutable_data<T>(call.by_beta)};
  const int32_t device = call.y->get_device_index();
  with_jet_body<Work>(a.order, a.n, arrays,
                      [&](const auto& body) { launch(body, body.grid(), device); });
}

template <JetWork Work>
void run(const Call& call) {
  if (call.arguments.points == 0 || call.arguments.width == 0) return;
  switch (call.arguments.stored) {
    case ScalarType::Half:
      if constexpr (Work != JetWork::tangent) run_as<Work, float, c10::Half>(call);
      return;
    case ScalarType::BFloat16:
      if constexpr (Work != JetWork::tangent) run_as<Work, float, c10::BFloat16>(call);
      return;
    case ScalarType::Float:
      return run_as<Work, float>(call);
    default:
      return run_as<Work, double>(call);
  }
}

bool at_pair(const Optional& tensor) {
  return !tensor || reinterpret_cast<uintptr_t>(tensor->const_data_ptr()) % 4 == 0;
}

// Whether jets of 16 bits must become float32 first: there is no kernel that takes them.
bool widened(JetWork work, const Call& call) {
  const JetArguments& a = call.arguments;
  return narrow(a.stored) && !(has_narrow_jet(work, math::canonical(a.order, a.n)) &&
                               a.width % 2 == 0 && at_pair(call.y) && at_pair(call.g));
}

Tensor wide(const Tensor& jet) { return torch::stable::to(jet, ScalarType::Float); }
Optional wide(const Optional& jet) { return jet ? Optional(wide(*jet)) : jet; }

Tensor forward(const Tensor& y, const Optional& columns, const Optional& bias, const Optional& beta,
               const std::string& kind, const std::string& order, int64_t n) {
  const JetArguments arguments = check_jet(y, columns, bias, beta, kind, order, n);
  const DeviceGuard guard(y.get_device_index());
  Call call = prepare(arguments, y, columns, bias, beta);
  if (widened(JetWork::forward, call)) {
    const Tensor h = forward(wide(y), wide(columns), bias, beta, kind, order, n);
    return torch::stable::to(h, arguments.stored);
  }
  call.h = new_jet(call.arguments, y);
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
  if (widened(JetWork::backward, call)) {
    const auto [out, h, by_beta] =
        backward(wide(grad), wide(y), wide(columns), bias, beta, kind, order, n);
    return {torch::stable::to(out, arguments.stored), torch::stable::to(h, arguments.stored),
            by_beta};
  }
  call.out = new_jet(call.arguments, y);
  call.h = new_jet(call.arguments, y);
  if (beta) call.by_beta = empty_of(*beta, {arguments.points, arguments.width});
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
  if (widened(JetWork::tangent, call)) {
    const Tensor made = tangent(wide(v), wide(y), wide(columns), bias, beta, kind, order, n);
    return torch::stable::to(made, arguments.stored);
  }
  call.out = new_jet(call.arguments, y);
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
