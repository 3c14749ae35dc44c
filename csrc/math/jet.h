// Jets through a function of one variable: the composition f(y) where y carries derivatives by n
// inputs (Faa di Bruno's formula), its adjoint and its tangent.
//
// Components of a jet, in this order: the value; n first derivatives; for `laplacian` the
// Laplacian, for higher orders the upper triangle of the Hessian (00, 01, ..., 11, ...); for
// `grad_laplacian` the n derivatives of the Laplacian, for `third` the third derivatives
// i <= j <= k. The same as Layout in python/colloc/jets/layout.py. In one input the Laplacian is
// the Hessian and its gradient the third derivative: `canonical` maps those orders.
#pragma once

#include "math/unroll.h"

namespace colloc::math {

enum class JetOrder : int { value, first, laplacian, second, grad_laplacian, third };
constexpr int jet_order_count = 6;
// The most inputs that the kernels differentiate by.
constexpr int max_jet_inputs = 4;
// Components of the largest jet: order 3 in four inputs.
constexpr int max_jet_size = 1 + 4 + 10 + 20;

constexpr JetOrder canonical(JetOrder order, int n) {
  if (n > 1) return order;
  if (order == JetOrder::laplacian) return JetOrder::second;
  return order == JetOrder::grad_laplacian ? JetOrder::third : order;
}

// How many components a jet of `order` in n inputs has.
constexpr int jet_size(JetOrder order, int n) {
  const int hessian = n * (n + 1) / 2;
  switch (canonical(order, n)) {
    case JetOrder::value:
      return 1;
    case JetOrder::first:
      return 1 + n;
    case JetOrder::laplacian:
      return 2 + n;
    case JetOrder::second:
      return 1 + n + hessian;
    case JetOrder::grad_laplacian:
      return 1 + n + hessian + n;
    case JetOrder::third:
      return 1 + n + hessian + n * (n + 1) * (n + 2) / 6;
  }
  return 0;
}

// The highest derivative of f in a jet of `order`; its adjoint and tangent need one more.
constexpr int jet_degree(JetOrder order) {
  switch (order) {
    case JetOrder::value:
      return 0;
    case JetOrder::first:
      return 1;
    case JetOrder::laplacian:
    case JetOrder::second:
      return 2;
    default:
      return 3;
  }
}

// Components of a jet of order O in n inputs; O as `canonical` gives it.
template <JetOrder O, int n>
struct JetForm {
  static_assert(O == canonical(O, n));
  static constexpr int size = jet_size(O, n);
  static constexpr int degree = jet_degree(O);
  static constexpr bool gradient = O != JetOrder::value;
  static constexpr bool laplacian = O == JetOrder::laplacian;
  static constexpr bool hessian = degree >= 2 && !laplacian;
  static constexpr bool grad_laplacian = O == JetOrder::grad_laplacian;
  static constexpr bool third = O == JetOrder::third;

  static constexpr int first(int i) { return 1 + i; }
  static constexpr int trace = 1 + n;  // the Laplacian, where it is held as such
  // Without recursion, which nvcc would not inline.
  static constexpr int second(int i, int j) {
    const int low = i < j ? i : j, high = i < j ? j : i;
    return 1 + n + low * n - low * (low - 1) / 2 + (high - low);
  }
  static constexpr int slope(int k) { return 1 + n + n * (n + 1) / 2 + k; }  // of the Laplacian
  static constexpr int third_at(int i, int j, int k) {                       // i <= j <= k
    int at = 1 + n + n * (n + 1) / 2;
    for (int a = 0; a < n; ++a) {
      for (int b = a; b < n; ++b) {
        for (int c = b; c < n; ++c) {
          if (a == i && b == j && c == k) return at;
          ++at;
        }
      }
    }
    return -1;
  }
};

// The sum over i of y_i^2.
template <int n, typename T>
COLLOC_HD T gradient_square(const T* y) {
  T sum = y[1] * y[1];
  unroll<1, n>([&](auto i) COLLOC_INLINE_LAMBDA { sum = sum + y[1 + i] * y[1 + i]; });
  return sum;
}

// The sum over i of y_ii.
template <typename Form, int n, typename T>
COLLOC_HD T hessian_trace(const T* y) {
  T sum = y[Form::second(0, 0)];
  unroll<1, n>([&](auto i) COLLOC_INLINE_LAMBDA { sum = sum + y[Form::second(i, i)]; });
  return sum;
}

// The sum over i of v_i y_ik.
template <typename Form, int n, typename T>
COLLOC_HD T hessian_row(const T* v, const T* y, int k) {
  T sum = v[0] * y[Form::second(0, k)];
  unroll<1, n>([&](auto i) COLLOC_INLINE_LAMBDA { sum = sum + v[i] * y[Form::second(i, k)]; });
  return sum;
}

// h = f(y), with f[k] the k-th derivative at the value:
//   h_i = f1 y_i,  h_ij = f1 y_ij + f2 y_i y_j,  lap h = f1 lap y + f2 |grad y|^2,
//   d_k lap h = f1 d_k lap y + f2 (y_k lap y + 2 sum_i y_ik y_i) + f3 y_k |grad y|^2,
//   h_ijk = f1 y_ijk + f2 (y_ij y_k + y_ik y_j + y_jk y_i) + f3 y_i y_j y_k.
template <JetOrder O, int n, typename T>
COLLOC_HD void jet_compose(const T* y, const T* f, T* h) {
  using Form = JetForm<O, n>;
  h[0] = f[0];
  if constexpr (Form::gradient) {
    unroll<0, n>([&](auto i) COLLOC_INLINE_LAMBDA { h[1 + i] = f[1] * y[1 + i]; });
  }
  if constexpr (Form::laplacian) {
    h[Form::trace] = f[1] * y[Form::trace] + f[2] * gradient_square<n>(y);
  }
  if constexpr (Form::hessian) {
    unroll<0, n>([&](auto i) COLLOC_INLINE_LAMBDA {
      unroll<i, n>([&](auto j) COLLOC_INLINE_LAMBDA {
        h[Form::second(i, j)] = f[1] * y[Form::second(i, j)] + f[2] * (y[1 + i] * y[1 + j]);
      });
    });
  }
  if constexpr (Form::grad_laplacian) {
    const T trace = hessian_trace<Form, n>(y);
    const T square = gradient_square<n>(y);
    unroll<0, n>([&](auto k) COLLOC_INLINE_LAMBDA {
      const T across = hessian_row<Form, n>(y + 1, y, k);
      h[Form::slope(k)] = f[1] * y[Form::slope(k)] + f[2] * (y[1 + k] * trace + (across + across)) +
                          f[3] * (y[1 + k] * square);
    });
  }
  if constexpr (Form::third) {
    unroll<0, n>([&](auto i) COLLOC_INLINE_LAMBDA {
      unroll<i, n>([&](auto j) COLLOC_INLINE_LAMBDA {
        unroll<j, n>([&](auto k) COLLOC_INLINE_LAMBDA {
          constexpr int ijk = Form::third_at(i, j, k);
          constexpr int ij = Form::second(i, j), ik = Form::second(i, k), jk = Form::second(j, k);
          h[ijk] = f[1] * y[ijk] + f[2] * (y[ij] * y[1 + k] + y[ik] * y[1 + j] + y[jk] * y[1 + i]) +
                   f[3] * (y[1 + i] * y[1 + j] * y[1 + k]);
        });
      });
    });
  }
}

// h = a b, by Leibniz' rule.
template <JetOrder O, int n, typename T>
COLLOC_HD void jet_multiply(const T* a, const T* b, T* h) {
  using Form = JetForm<O, n>;
  h[0] = a[0] * b[0];
  unroll<1, Form::size>([&](auto c) COLLOC_INLINE_LAMBDA { h[c] = a[0] * b[c] + a[c] * b[0]; });
  if constexpr (Form::laplacian) {
    T sum = a[1] * b[1];
    unroll<1, n>([&](auto i) COLLOC_INLINE_LAMBDA { sum = sum + a[1 + i] * b[1 + i]; });
    h[Form::trace] = h[Form::trace] + T(2) * sum;
  }
  if constexpr (Form::hessian) {
    unroll<0, n>([&](auto i) COLLOC_INLINE_LAMBDA {
      unroll<i, n>([&](auto j) COLLOC_INLINE_LAMBDA {
        constexpr int ij = Form::second(i, j);
        h[ij] = h[ij] + (a[1 + i] * b[1 + j] + a[1 + j] * b[1 + i]);
      });
    });
  }
  if constexpr (Form::grad_laplacian) {
    // d_k lap(ab) adds a_k lap b + b_k lap a + 2 sum_i (a_ik b_i + a_i b_ik)
    const T trace_a = hessian_trace<Form, n>(a), trace_b = hessian_trace<Form, n>(b);
    unroll<0, n>([&](auto k) COLLOC_INLINE_LAMBDA {
      const T across = hessian_row<Form, n>(b + 1, a, k) + hessian_row<Form, n>(a + 1, b, k);
      h[Form::slope(k)] =
          h[Form::slope(k)] + (a[1 + k] * trace_b + b[1 + k] * trace_a) + (across + across);
    });
  }
  if constexpr (Form::third) {
    unroll<0, n>([&](auto i) COLLOC_INLINE_LAMBDA {
      unroll<i, n>([&](auto j) COLLOC_INLINE_LAMBDA {
        unroll<j, n>([&](auto k) COLLOC_INLINE_LAMBDA {
          constexpr int ijk = Form::third_at(i, j, k);
          constexpr int ij = Form::second(i, j), ik = Form::second(i, k), jk = Form::second(j, k);
          h[ijk] = h[ijk] + (a[ij] * b[1 + k] + a[ik] * b[1 + j] + a[jk] * b[1 + i]) +
                   (b[ij] * a[1 + k] + b[ik] * a[1 + j] + b[jk] * a[1 + i]);
        });
      });
    });
  }
}

// dy = the gradient of sum_c g_c h_c by y, h as above; f up to the derivative degree + 1.
//
// With h_c = f1 y_c + f2 B_c + f3 C_c the value's part is f1 g_0 + f2 <g, y> + f3 <g, B> +
// f4 <g, C>.
template <JetOrder O, int n, typename T>
COLLOC_HD void jet_compose_adjoint(const T* y, const T* f, const T* g, T* dy) {
  using Form = JetForm<O, n>;
  T value = f[1] * g[0];
  if constexpr (Form::gradient) {
    T linear = g[1] * y[1];
    unroll<2, Form::size>([&](auto c) COLLOC_INLINE_LAMBDA { linear = linear + g[c] * y[c]; });
    unroll<1, Form::size>([&](auto c) COLLOC_INLINE_LAMBDA { dy[c] = f[1] * g[c]; });
    value = value + f[2] * linear;
  }
  if constexpr (Form::laplacian) {
    const T twice = f[2] * (T(2) * g[Form::trace]);
    unroll<0, n>([&](auto i) COLLOC_INLINE_LAMBDA { dy[1 + i] = dy[1 + i] + twice * y[1 + i]; });
    value = value + f[3] * (g[Form::trace] * gradient_square<n>(y));
  }
  if constexpr (Form::hessian) {
    T quadratic = T(0);  // 2 <g, B>
    unroll<0, n>([&](auto i) COLLOC_INLINE_LAMBDA {
      const T a = hessian_row<Form, n>(y + 1, g, i) + g[Form::second(i, i)] * y[1 + i];
      dy[1 + i] = dy[1 + i] + f[2] * a;
      quadratic = quadratic + a * y[1 + i];
    });
    value = value + f[3] * (T(0.5) * quadratic);
  }
  if constexpr (Form::grad_laplacian) {
    const T* slope = g + Form::slope(0);
    const T trace = hessian_trace<Form, n>(y);
    const T square = gradient_square<n>(y);
    T along = slope[0] * y[1];  // sum_k g_k y_k
    unroll<1, n>([&](auto k) COLLOC_INLINE_LAMBDA { along = along + slope[k] * y[1 + k]; });
    T mixed = along * trace;  // <g, B>
    unroll<0, n>([&](auto i) COLLOC_INLINE_LAMBDA {
      const T across = T(2) * hessian_row<Form, n>(slope, y, i);
      dy[1 + i] = dy[1 + i] + f[2] * (slope[i] * trace + across) +
                  f[3] * (slope[i] * square + T(2) * along * y[1 + i]);
      mixed = mixed + across * y[1 + i];
      constexpr int ii = Form::second(i, i);
      dy[ii] = dy[ii] + f[2] * (along + T(2) * (slope[i] * y[1 + i]));
      unroll<i + 1, n>([&](auto k) COLLOC_INLINE_LAMBDA {
        constexpr int ik = Form::second(i, k);
        dy[ik] = dy[ik] + f[2] * (T(2) * (slope[k] * y[1 + i] + slope[i] * y[1 + k]));
      });
    });
    value = value + f[3] * mixed + f[4] * (along * square);
  }
  if constexpr (Form::third) {
    T mixed = T(0), cubic = T(0);
    unroll<0, n>([&](auto i) COLLOC_INLINE_LAMBDA {
      unroll<i, n>([&](auto j) COLLOC_INLINE_LAMBDA {
        unroll<j, n>([&](auto k) COLLOC_INLINE_LAMBDA {
          constexpr int ijk = Form::third_at(i, j, k);
          constexpr int ij = Form::second(i, j), ik = Form::second(i, k), jk = Form::second(j, k);
          const T g2 = f[2] * g[ijk], g3 = f[3] * g[ijk];
          const T yi = y[1 + i], yj = y[1 + j], yk = y[1 + k];
          dy[ij] = dy[ij] + g2 * yk;
          dy[ik] = dy[ik] + g2 * yj;
          dy[jk] = dy[jk] + g2 * yi;
          dy[1 + i] = dy[1 + i] + (g2 * y[jk] + g3 * (yj * yk));
          dy[1 + j] = dy[1 + j] + (g2 * y[ik] + g3 * (yi * yk));
          dy[1 + k] = dy[1 + k] + (g2 * y[ij] + g3 * (yi * yj));
          mixed = mixed + g[ijk] * (y[ij] * yk + y[ik] * yj + y[jk] * yi);
          cubic = cubic + g[ijk] * (yi * yj * yk);
        });
      });
    });
    value = value + f[3] * mixed + f[4] * cubic;
  }
  dy[0] = value;
}

// A number and its derivative in one direction: composing it gives the tangent of a jet.
template <typename T>
struct Dual {
  T value, tangent;

  friend COLLOC_HD_MEMBER Dual operator+(Dual a, Dual b) {
    return {a.value + b.value, a.tangent + b.tangent};
  }
  friend COLLOC_HD_MEMBER Dual operator*(Dual a, Dual b) {
    return {a.value * b.value, a.value * b.tangent + a.tangent * b.value};
  }
};

// dh = the derivative of h = f(y) along v; f up to the derivative degree + 1.
template <JetOrder O, int n, typename T>
COLLOC_HD void jet_compose_tangent(const T* y, const T* f, const T* v, T* dh) {
  using Form = JetForm<O, n>;
  Dual<T> point[Form::size], derivatives[Form::degree + 1], composed[Form::size];
  unroll<0, Form::size>([&](auto c) COLLOC_INLINE_LAMBDA { point[c] = {y[c], v[c]}; });
  unroll<0, Form::degree + 1>(
      [&](auto k) COLLOC_INLINE_LAMBDA { derivatives[k] = {f[k], f[k + 1] * v[0]}; });
  jet_compose<O, n>(point, derivatives, composed);
  unroll<0, Form::size>([&](auto c) COLLOC_INLINE_LAMBDA { dh[c] = composed[c].tangent; });
}

}  // namespace colloc::math
