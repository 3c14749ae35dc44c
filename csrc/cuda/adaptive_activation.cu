// Ops adaptive_activation and adaptive_activation_backward on the GPU. The values of a are not
// checked for NaN here: that would wait for the GPU at every call.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <tuple>

#include "common/activation_arguments.h"
#include "common/block_launch.cuh"
#include "common/box.h"
#include "cuda/adaptive_activation_backward_body.h"

namespace colloc {
namespace {

template <typename T>
const T* data(const Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}

template <typename T>
T* mutable_data(const Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

template <typename T>
Repeated<T> repeated(const Tensor& values) {
  return {data<T>(values), values.numel()};
}

template <typename T>
void run_forward(math::Kind kind, int64_t order, const Tensor& x, const Tensor& a,
                 const Tensor& beta, double scale, Tensor& y) {
  const int32_t device = x.get_device_index();
  with_kind_and_order<math::max_activation_order>(kind, order, [&](auto k, auto n) {
    const ActivationForwardBody<decltype(k)::value, decltype(n)::value, T> body{
        data<T>(x),        x.numel(), repeated<T>(a), repeated<T>(beta), static_cast<T>(scale),
        mutable_data<T>(y)};
    launch(body, body.grid(), device);
  });
}

Tensor forward(const Tensor& x, const Tensor& a, const std::optional<Tensor>& beta,
               const std::string& kind, double scale, int64_t order) {
  const auto arguments =
      check_activation(x, a, beta, kind, scale, order, math::max_activation_order);
  Tensor y = empty_of(x, x.sizes());
  if (x.numel() == 0) return y;
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const Tensor dense = torch::stable::contiguous(x);
  const Tensor dense_a = torch::stable::contiguous(a);
  const Tensor dense_beta = beta ? torch::stable::contiguous(*beta) : dense_a;
  if (x.scalar_type() == ScalarType::Float) {
    run_forward<float>(arguments.kind, order, dense, dense_a, dense_beta, scale, y);
  } else {
    run_forward<double>(arguments.kind, order, dense, dense_a, dense_beta, scale, y);
  }
  return y;
}

template <typename T>
void run_backward(math::Kind kind, int64_t order, int64_t slopes, const Tensor& grad,
                  const Tensor& x, const Tensor& a, const Tensor& beta, double scale,
                  const Tensor& grad_x, const Tensor& grad_a, const Tensor& grad_beta,
                  int64_t mask) {
  using Arguments = ActivationBackwardArguments<T>;
  const int32_t device = x.get_device_index();
  const Tensor scratch = torch::stable::empty({Arguments::scratch_size(x.numel(), slopes)},
                                              ScalarType::Double, std::nullopt, x.device());
  const bool stan = kind == math::Kind::stan;
  const Arguments arguments{data<T>(grad),
                            data<T>(x),
                            x.numel(),
                            repeated<T>(a),
                            repeated<T>(beta),
                            scale,
                            (mask & mask_x) ? mutable_data<T>(grad_x) : nullptr,
                            (mask & mask_a) ? mutable_data<T>(grad_a) : nullptr,
                            stan && (mask & mask_beta) ? mutable_data<T>(grad_beta) : nullptr,
                            slopes,
                            mutable_data<double>(scratch)};
  with_kind_and_order<math::max_activation_order - 1>(kind, order, [&](auto k, auto n) {
    activation_backward_bodies<decltype(k)::value, decltype(n)::value>(
        arguments,
        [&](const auto& body, const BlockGrid& grid) { launch_blocks(body, grid, device); });
  });
}

std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& grad, const Tensor& x, const Tensor& a,
                                            const std::optional<Tensor>& beta,
                                            const std::string& kind, double scale, int64_t order,
                                            int64_t mask) {
  const auto arguments =
      check_activation(x, a, beta, kind, scale, order, math::max_activation_order - 1);
  check_like("grad", grad, "x", x);
  check_same_shape("grad", grad, "x", x);
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const auto result = [&](const Tensor* shape, int64_t bit) {
    return (shape && (mask & bit)) ? empty_of(x, shape->sizes()) : empty_of(x, {0});
  };
  Tensor grad_x = result(&x, mask_x);
  Tensor grad_a = result(&a, mask_a);
  Tensor grad_beta = result(beta ? &*beta : nullptr, mask_beta);
  if (x.numel() == 0) {
    torch::stable::zero_(grad_a);
    torch::stable::zero_(grad_beta);
    return {grad_x, grad_a, grad_beta};
  }
  const Tensor dense_grad = torch::stable::contiguous(grad);
  const Tensor dense_x = torch::stable::contiguous(x);
  const Tensor dense_a = torch::stable::contiguous(a);
  const Tensor dense_beta = beta ? torch::stable::contiguous(*beta) : dense_a;
  if (x.scalar_type() == ScalarType::Float) {
    run_backward<float>(arguments.kind, order, arguments.width, dense_grad, dense_x, dense_a,
                        dense_beta, scale, grad_x, grad_a, grad_beta, mask);
  } else {
    run_backward<double>(arguments.kind, order, arguments.width, dense_grad, dense_x, dense_a,
                         dense_beta, scale, grad_x, grad_a, grad_beta, mask);
  }
  return {grad_x, grad_a, grad_beta};
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CUDA, m) {
  m.impl("adaptive_activation", COLLOC_BOX(&colloc::forward));
  m.impl("adaptive_activation_backward", COLLOC_BOX(&colloc::backward));
}
