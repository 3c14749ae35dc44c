// Activation functions with their derivatives, d[k] = f^(k)(t) for k = 0..N, N <= 5.
// Written for accuracy where the textbook forms cancel: sech^2 and the logistic derivative from
// exp(-|t|), tanh from expm1, the normal distribution's tail from erfcx.
#pragma once

#include "math/elementary.h"

namespace colloc::math {

// The order of kind_names in csrc/common/kinds.h and of KINDS in ops/adaptive_activation.py.
enum class Kind : int { tanh, sin, silu, gelu, gelu_tanh, sigmoid, softplus, identity, stan };
constexpr int kind_count = 9;

// The highest derivative in the family: an order past it is refused by the ops.
constexpr int max_activation_order = 4;

// Derivatives of tanh from T = tanh t and S = sech^2 t.
template <int N, typename T>
COLLOC_HD void tanh_derivatives(T t, T* d) {
  T e, m;
  exp_of_negative(T(2) * absolute(t), e, m);
  const T q = reciprocal_bounded(T(1) + e);
  const T magnitude = -m * q;
  const T h = t < T(0) ? -magnitude : magnitude;
  const T s = T(4) * e * q * q;
  const T h2 = h * h;
  d[0] = h;
  if constexpr (N >= 1) d[1] = s;
  if constexpr (N >= 2) d[2] = T(-2) * h * s;
  if constexpr (N >= 3) d[3] = s * (T(4) * h2 - T(2) * s);
  if constexpr (N >= 4) d[4] = h * s * (T(16) * s - T(8) * h2);
  if constexpr (N >= 5) d[5] = s * (T(16) * (h2 * h2) + s * (T(16) * s - T(88) * h2));
}

// Derivatives of the logistic function: sigma(t) = (1 + tanh(t / 2)) / 2, with its own small tail.
template <int N, typename T>
COLLOC_HD void sigmoid_derivatives(T t, T* d) {
  T e, m = T(0);  // only the higher derivatives need expm1
  if constexpr (N >= 2) {
    exp_of_negative(absolute(t), e, m);
  } else {
    e = exp_of_negative(absolute(t));
  }
  const T q = reciprocal_bounded(T(1) + e);
  const T magnitude = -m * q;                     // tanh(|t| / 2)
  const T h = t < T(0) ? -magnitude : magnitude;  // 2 sigma - 1
  const T s = e * q * q;                          // sigma (1 - sigma)
  const T h2 = h * h;
  d[0] = t < T(0) ? e * q : q;
  if constexpr (N >= 1) d[1] = s;
  if constexpr (N >= 2) d[2] = -h * s;
  if constexpr (N >= 3) d[3] = s * (h2 - T(2) * s);
  if constexpr (N >= 4) d[4] = h * s * (T(8) * s - h2);
  if constexpr (N >= 5) d[5] = s * (h2 * h2 + s * (T(16) * s - T(22) * h2));
}

// t g(t) has the derivatives t g^(k) + k g^(k-1).
template <int N, typename T>
COLLOC_HD void times_argument(T t, const T* g, T* d) {
  for (int k = 0; k <= N; ++k) {
    d[k] = t * g[k] + (k > 0 ? T(k) * g[k - 1] : T(0));
  }
}

// x Phi(x): Phi' = phi and phi^(k) = (-1)^k He_k phi, so f^(k) = P_k phi for k >= 2.
template <int N, typename T>
COLLOC_HD void gelu_derivatives(T t, T* d) {
  const T size = absolute(t);
  // phi vanishes far before its polynomial factors could overflow
  const T bounded = size > T(40) ? (t < T(0) ? T(-40) : T(40)) : t;
  const T t2 = bounded * bounded;
  const T bell = exp_of_negative(T(0.5) * t2);
  const T density = T(0.39894228040143267794) * bell;
  const T tail = T(0.5) * bell * erfcx(absolute(bounded) * T(0.70710678118654752440));
  const T distribution = t < T(0) ? tail : T(1) - tail;
  d[0] = t * distribution;
  if constexpr (N >= 1) d[1] = distribution + bounded * density;
  if constexpr (N >= 2) d[2] = density * (T(2) - t2);
  if constexpr (N >= 3) d[3] = density * bounded * (t2 - T(4));
  if constexpr (N >= 4) d[4] = density * (T(-4) + t2 * (T(7) - t2));
  if constexpr (N >= 5) d[5] = density * bounded * (T(18) + t2 * (t2 - T(11)));
}

// x sigma(v), v = 2 sqrt(2 / pi) (x + 0.044715 x^3), by Faa di Bruno.
template <int N, typename T>
COLLOC_HD void gelu_tanh_derivatives(T t, T* d) {
  const T size = absolute(t);
  // sigma is saturated to the last bit long before v^k could overflow
  const T bounded = size > T(40) ? (t < T(0) ? T(-40) : T(40)) : t;
  const T c = T(1.59576912160573071176);
  const T cubic = T(0.044715);
  const T t2 = bounded * bounded;
  const T v = c * bounded * (T(1) + cubic * t2);
  const T v1 = c * (T(1) + T(3) * cubic * t2);
  const T v2 = c * T(6) * cubic * bounded;
  const T v3 = c * T(6) * cubic;
  T s[N + 1], h[N + 1];
  sigmoid_derivatives<N>(v, s);
  h[0] = s[0];
  if constexpr (N >= 1) h[1] = s[1] * v1;
  if constexpr (N >= 2) h[2] = s[2] * v1 * v1 + s[1] * v2;
  if constexpr (N >= 3) h[3] = s[3] * v1 * v1 * v1 + T(3) * s[2] * v1 * v2 + s[1] * v3;
  if constexpr (N >= 4) {
    h[4] = s[4] * (v1 * v1) * (v1 * v1) + T(6) * s[3] * v1 * v1 * v2 +
           s[2] * (T(3) * v2 * v2 + T(4) * v1 * v3);
  }
  if constexpr (N >= 5) {
    h[5] = s[5] * (v1 * v1) * (v1 * v1) * v1 + T(10) * s[4] * v1 * v1 * v1 * v2 +
           s[3] * (T(15) * v1 * v2 * v2 + T(10) * v1 * v1 * v3) + T(10) * s[2] * v2 * v3;
  }
  d[0] = t * h[0];
  if constexpr (N >= 1) {
    T tail[N + 1];
    times_argument<N>(bounded, h, tail);
    for (int k = 1; k <= N; ++k) d[k] = tail[k];
  }
}

// log(1 + exp t) = max(t, 0) + log(1 + exp(-|t|)).
template <int N, typename T>
COLLOC_HD void softplus_derivatives(T t, T* d) {
  if constexpr (N >= 1) {
    T s[N];
    sigmoid_derivatives<N - 1>(t, s);
    for (int k = 1; k <= N; ++k) d[k] = s[k - 1];
  }
  d[0] = (t > T(0) ? t : T(0)) + log1p_unit(exp_of_negative(absolute(t)));
}

// d[k] = f^(k)(t), k = 0..N. Stan is tanh t + beta t tanh t; `partial`, where given, receives
// the derivatives by beta of d (zero for the other kinds).
template <Kind K, int N, bool BranchFree = false, typename T>
COLLOC_HD void activation_derivatives(T t, T beta, T* d, T* partial = nullptr) {
  static_assert(N >= 0 && N <= max_activation_order + 1);
  if constexpr (K == Kind::tanh) {
    tanh_derivatives<N>(t, d);
  } else if constexpr (K == Kind::sin) {
    for (int k = 0; k <= N; ++k) {
      d[k] = BranchFree ? sin_bounded(t, k) : sin_any(t, k);
    }
  } else if constexpr (K == Kind::silu) {
    T s[N + 1];
    sigmoid_derivatives<N>(t, s);
    times_argument<N>(t, s, d);
  } else if constexpr (K == Kind::gelu) {
    gelu_derivatives<N>(t, d);
  } else if constexpr (K == Kind::gelu_tanh) {
    gelu_tanh_derivatives<N>(t, d);
  } else if constexpr (K == Kind::sigmoid) {
    sigmoid_derivatives<N>(t, d);
  } else if constexpr (K == Kind::softplus) {
    softplus_derivatives<N>(t, d);
  } else if constexpr (K == Kind::identity) {
    for (int k = 0; k <= N; ++k) d[k] = k == 0 ? t : (k == 1 ? T(1) : T(0));
  } else {
    static_assert(K == Kind::stan);
    T h[N + 1], by_beta[N + 1];
    tanh_derivatives<N>(t, h);
    times_argument<N>(t, h, by_beta);
    for (int k = 0; k <= N; ++k) {
      d[k] = h[k] + beta * by_beta[k];
      if (partial != nullptr) partial[k] = by_beta[k];
    }
  }
}

}  // namespace colloc::math
