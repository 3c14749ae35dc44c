#include "cpu/kernels/kernels.h"

namespace colloc::COLLOC_CAPABILITY {
namespace {

using math::Kind;

// sin is free of branches up to math::sincos_limit; a row past it takes the C library's.
template <typename T>
bool within_sincos_limit(const T* x, const T* slope, int64_t count) {
  int64_t outside = 0;
#pragma omp simd reduction(+ : outside)
  for (int64_t i = 0; i < count; ++i) {
    outside += !(math::absolute(slope[i] * x[i]) <= math::sincos_limit<T>());
  }
  return outside == 0;
}

// One element, in a function of its own: locals of a loop under `omp simd` become arrays of
// lanes, which the vectoriser then can't take apart.
template <Kind K, int Order, bool BranchFree, typename T>
COLLOC_HD T forward_element(T t, T beta) {
  T d[Order + 1];
  math::activation_derivatives<K, Order, BranchFree>(t, beta, d);
  return d[Order];
}

template <Kind K, int Order, bool BranchFree, typename T>
void forward_row(const T* x, int64_t count, const T* slope, const T* beta, T* y) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    y[i] = forward_element<K, Order, BranchFree>(slope[i] * x[i], beta[i]);
  }
}

template <Kind K, int Order, typename T>
void forward(const T* x, int64_t count, int64_t width, const T* slope, const T* beta, T* y) {
  for (int64_t at = 0; at < count; at += width) {
    const int64_t row = count - at < width ? count - at : width;
    if (K == Kind::sin && !within_sincos_limit(x + at, slope, row)) {
      forward_row<K, Order, K != Kind::sin>(x + at, row, slope, beta, y + at);
    } else {
      forward_row<K, Order, true>(x + at, row, slope, beta, y + at);
    }
  }
}

template <Kind K, int Order, bool BranchFree, typename T>
COLLOC_HD void backward_element(T grad, T x, T slope, T beta, T* grad_x, T* sum_a, T* sum_beta) {
  T d[Order + 2];
  if constexpr (K == Kind::stan) {
    T by_beta[Order + 2];
    math::activation_derivatives<K, Order + 1, BranchFree>(slope * x, beta, d, by_beta);
    *sum_beta += grad * by_beta[Order];
  } else {
    math::activation_derivatives<K, Order + 1, BranchFree>(slope * x, beta, d);
  }
  const T g = grad * d[Order + 1];
  *grad_x = g * slope;
  *sum_a += g * x;
}

template <Kind K, int Order, bool BranchFree, typename T>
void backward_row(const T* grad, const T* x, int64_t count, const T* slope, const T* beta,
                  T* grad_x, T* sum_a, T* sum_beta) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    backward_element<K, Order, BranchFree>(grad[i], x[i], slope[i], beta[i], grad_x + i, sum_a + i,
                                           sum_beta + i);
  }
}

template <Kind K, int Order, typename T>
void backward(const T* grad, const T* x, int64_t count, int64_t width, const T* slope,
              const T* beta, T* grad_x, T* sum_a, T* sum_beta) {
  for (int64_t at = 0; at < count; at += width) {
    const int64_t row = count - at < width ? count - at : width;
    if (K == Kind::sin && !within_sincos_limit(x + at, slope, row)) {
      backward_row<K, Order, K != Kind::sin>(grad + at, x + at, row, slope, beta, grad_x + at,
                                             sum_a, sum_beta);
    } else {
      backward_row<K, Order, true>(grad + at, x + at, row, slope, beta, grad_x + at, sum_a,
                                   sum_beta);
    }
  }
}

#define FORWARD(kind)                                                               \
  {forward<Kind::kind, 0, T>, forward<Kind::kind, 1, T>, forward<Kind::kind, 2, T>, \
   forward<Kind::kind, 3, T>, forward<Kind::kind, 4, T>}
#define BACKWARD(kind)                                                                 \
  {backward<Kind::kind, 0, T>, backward<Kind::kind, 1, T>, backward<Kind::kind, 2, T>, \
   backward<Kind::kind, 3, T>}

// The order of math::Kind.
template <typename T>
constexpr ActivationKernels<T> table = {
    {FORWARD(tanh), FORWARD(sin), FORWARD(silu), FORWARD(gelu), FORWARD(gelu_tanh),
     FORWARD(sigmoid), FORWARD(softplus), FORWARD(identity), FORWARD(stan)},
    {BACKWARD(tanh), BACKWARD(sin), BACKWARD(silu), BACKWARD(gelu), BACKWARD(gelu_tanh),
     BACKWARD(sigmoid), BACKWARD(softplus), BACKWARD(identity), BACKWARD(stan)}};

}  // namespace

const ActivationKernels<float> activation_float = table<float>;
const ActivationKernels<double> activation_double = table<double>;

}  // namespace colloc::COLLOC_CAPABILITY
