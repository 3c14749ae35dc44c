// Ops jet_activation, jet_activation_backward and jet_activation_tangent on the CPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <tuple>

#include "common/box.h"
#include "common/jet_arguments.h"
#include "common/optional_tensor.h"
#include "cpu/select.h"

namespace colloc {
namespace {

constexpr int64_t values_a_task = 16384;

// Everything that one of the three ops reads and writes; what it does not is empty.
struct Call {
  JetArguments arguments;
  Tensor y;
  Optional columns, bias, beta, g, out, h, by_beta;
};

template <typename T>
void run(void (*kernel)(const JetRows<T>&), const Call& call) {
  const JetArguments& a = call.arguments;
  const JetRows<T> all{a.kind,
                       a.order,
                       a.n,
                       a.points,
                       a.width,
                       data<T>(call.bias),
                       data<T>(call.beta),
                       data<T>(call.y),
                       data<T>(call.columns),
                       data<T>(call.g),
                       mutable_data<T>(call.out),
                       mutable_data<T>(call.h),
                       mutable_data<T>(call.by_beta),
                       nullptr};
  const int64_t per_point = a.size * a.width;
  const int64_t grain = std::max<int64_t>(1, values_a_task / std::max<int64_t>(1, per_point));
  torch::stable::parallel_for(0, a.points, grain, [&](int64_t begin, int64_t end) {
    JetRows<T> part = all;
    const int64_t skip = begin * per_point;
    part.points = end - begin;
    part.y += part.columns == nullptr ? skip : begin * a.width;
    if (part.g != nullptr) part.g += skip;
    if (part.out != nullptr) part.out += skip;
    if (part.h != nullptr) part.h += skip;
    if (part.by_beta != nullptr) part.by_beta += begin * a.width;
    kernel(part);
  });
}

Call prepare(const Tensor& y, const Optional& columns, const Optional& bias, const Optional& beta,
             const std::string& kind, const std::string& order, int64_t n) {
  Call call{check_jet(y, columns, bias, beta, kind, order, n), torch::stable::contiguous(y)};
  call.columns = dense(columns);
  call.bias = dense(bias);
  call.beta = dense(beta);
  return call;
}

Tensor jet_like(const Call& call) {
  const JetArguments& a = call.arguments;
  return empty_of(call.y, {a.points, a.size, a.width});
}

Tensor forward(const Tensor& y, const Optional& columns, const Optional& bias, const Optional& beta,
               const std::string& kind, const std::string& order, int64_t n) {
  Call call = prepare(y, columns, bias, beta, kind, order, n);
  call.h = jet_like(call);
  if (y.scalar_type() == ScalarType::Float) {
    run<float>(COLLOC_SELECT(jet_float).forward, call);
  } else {
    run<double>(COLLOC_SELECT(jet_double).forward, call);
  }
  return *call.h;
}

std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& grad, const Tensor& y,
                                            const Optional& columns, const Optional& bias,
                                            const Optional& beta, const std::string& kind,
                                            const std::string& order, int64_t n) {
  Call call = prepare(y, columns, bias, beta, kind, order, n);
  check_full_jet("grad", grad, call.arguments, y);
  call.g = torch::stable::contiguous(grad);
  call.out = jet_like(call);
  call.h = jet_like(call);
  const JetArguments& a = call.arguments;
  const Tensor by_beta = beta ? empty_of(y, {a.points, a.width}) : empty_of(y, {0});
  if (beta) call.by_beta = by_beta;
  if (y.scalar_type() == ScalarType::Float) {
    run<float>(COLLOC_SELECT(jet_float).backward, call);
  } else {
    run<double>(COLLOC_SELECT(jet_double).backward, call);
  }
  return {*call.out, *call.h, by_beta};
}

Tensor tangent(const Tensor& v, const Tensor& y, const Optional& columns, const Optional& bias,
               const Optional& beta, const std::string& kind, const std::string& order, int64_t n) {
  Call call = prepare(y, columns, bias, beta, kind, order, n);
  check_full_jet("v", v, call.arguments, y);
  call.g = torch::stable::contiguous(v);
  call.out = jet_like(call);
  if (y.scalar_type() == ScalarType::Float) {
    run<float>(COLLOC_SELECT(jet_float).tangent, call);
  } else {
    run<double>(COLLOC_SELECT(jet_double).tangent, call);
  }
  return *call.out;
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CPU, m) {
  m.impl("jet_activation", COLLOC_BOX(&colloc::forward));
  m.impl("jet_activation_backward", COLLOC_BOX(&colloc::backward));
  m.impl("jet_activation_tangent", COLLOC_BOX(&colloc::tangent));
}
