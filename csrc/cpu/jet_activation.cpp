// Ops jet_activation, jet_activation_backward and jet_activation_tangent on the CPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <memory>
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

// A stretch of an array of 16 bits in float32: to be read, or to be written and stored.
template <typename S>
class Widened {
 public:
  Widened(const S* from, int64_t count) : Widened(static_cast<S*>(nullptr), count) {
    for (int64_t i = 0; i < count_; ++i) values_[i] = static_cast<float>(from[i]);
  }
  Widened(S* to, int64_t count) : count_(count), to_(to) {
    if (count > 0) values_.reset(new float[count]);
  }

  float* data() { return values_.get(); }
  void store() const {
    if (to_ == nullptr) return;
    for (int64_t i = 0; i < count_; ++i) to_[i] = static_cast<S>(values_[i]);
  }

 private:
  int64_t count_;
  std::unique_ptr<float[]> values_;
  S* to_;
};

// Jets of 16 bits: some points at a time become float32, stay in the cache, and go back.
template <typename S>
void run_narrow(void (*kernel)(const JetRows<float>&), const Call& call) {
  const JetArguments& a = call.arguments;
  const int64_t per_point = a.size * a.width;
  const int64_t together = std::max<int64_t>(1, values_a_task / std::max<int64_t>(1, per_point));
  Widened<S> columns(data<S>(call.columns), call.columns ? a.n * a.width : 0);
  const auto part = [&](int64_t begin, int64_t end) {
    const auto some = [&](auto* array, int64_t each) {
      if (array == nullptr) return Widened<S>(array, 0);
      return Widened<S>(array + begin * each, (end - begin) * each);
    };
    Widened<S> y = some(call.columns ? nullptr : data<S>(call.y), per_point);
    const float* value = call.columns ? data<float>(call.y) + begin * a.width : y.data();
    Widened<S> g = some(data<S>(call.g), per_point);
    Widened<S> out = some(mutable_data<S>(call.out), per_point);
    Widened<S> h = some(mutable_data<S>(call.h), per_point);
    float* by_beta = mutable_data<float>(call.by_beta);
    if (by_beta != nullptr) by_beta += begin * a.width;
    kernel(JetRows<float>{a.kind, a.order, a.n, end - begin, a.width, data<float>(call.bias),
                          data<float>(call.beta), value, columns.data(), g.data(), out.data(),
                          h.data(), by_beta, nullptr});
    out.store();
    h.store();
  };
  torch::stable::parallel_for(0, a.points, together, [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at += together) part(at, std::min(end, at + together));
  });
}

// Work(kernels) is one of the three kernels.
template <typename Work>
void run(const Call& call, const Work& work) {
  if (call.arguments.width == 0) return;
  switch (call.arguments.stored) {
    case ScalarType::Half:
      return run_narrow<c10::Half>(work(COLLOC_SELECT(jet_float)), call);
    case ScalarType::BFloat16:
      return run_narrow<c10::BFloat16>(work(COLLOC_SELECT(jet_float)), call);
    case ScalarType::Float:
      return run<float>(work(COLLOC_SELECT(jet_float)), call);
    default:
      return run<double>(work(COLLOC_SELECT(jet_double)), call);
  }
}

Call prepare(const Tensor& y, const Optional& columns, const Optional& bias, const Optional& beta,
             const std::string& kind, const std::string& order, int64_t n) {
  Call call{check_jet(y, columns, bias, beta, kind, order, n), torch::stable::contiguous(y)};
  call.columns = dense(columns);
  call.bias = dense(bias);
  call.beta = dense(beta);
  return call;
}

Tensor forward(const Tensor& y, const Optional& columns, const Optional& bias, const Optional& beta,
               const std::string& kind, const std::string& order, int64_t n) {
  Call call = prepare(y, columns, bias, beta, kind, order, n);
  call.h = new_jet(call.arguments, y);
  run(call, [](const auto& kernels) { return kernels.forward; });
  return *call.h;
}

std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& grad, const Tensor& y,
                                            const Optional& columns, const Optional& bias,
                                            const Optional& beta, const std::string& kind,
                                            const std::string& order, int64_t n) {
  Call call = prepare(y, columns, bias, beta, kind, order, n);
  check_full_jet("grad", grad, call.arguments, y);
  call.g = torch::stable::contiguous(grad);
  call.out = new_jet(call.arguments, y);
  call.h = new_jet(call.arguments, y);
  const JetArguments& a = call.arguments;
  const Tensor by_beta = beta ? empty_of(*beta, {a.points, a.width}) : empty_of(y, {0});
  if (beta) call.by_beta = by_beta;
  run(call, [](const auto& kernels) { return kernels.backward; });
  return {*call.out, *call.h, by_beta};
}

Tensor tangent(const Tensor& v, const Tensor& y, const Optional& columns, const Optional& bias,
               const Optional& beta, const std::string& kind, const std::string& order, int64_t n) {
  Call call = prepare(y, columns, bias, beta, kind, order, n);
  check_full_jet("v", v, call.arguments, y);
  call.g = torch::stable::contiguous(v);
  call.out = new_jet(call.arguments, y);
  run(call, [](const auto& kernels) { return kernels.tangent; });
  return *call.out;
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CPU, m) {
  m.impl("jet_activation", COLLOC_BOX(&colloc::forward));
  m.impl("jet_activation_backward", COLLOC_BOX(&colloc::backward));
  m.impl("jet_activation_tangent", COLLOC_BOX(&colloc::tangent));
}
