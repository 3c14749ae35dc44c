// Distance functions away from the pieces, where the plain formula loses no digits that matter:
//   phi = (sum_i P_i^(-m/2))^(-1/m),  P_i = phi_i^2 = f^2 + w^2,
// with f, t and w as in distance.h. No root of P_i is taken and no piece is treated apart. Towards
// a piece the second derivatives would lose eps / phi.
#pragma once

#include "math/distance.h"

namespace colloc::math {

// A piece in units of `unit`, a power of two, as T. Ends are two numbers: x - a - a_low.
template <typename T>
struct FarPiece {
  T a[2], a_low[2], b[2], b_low[2];
  T f0, f1[2], f1b[2], f2;  // f1: at the first end, f1b: at the second
  T t1[2], t2;
  T joined;  // not 0: begins where the piece before it ends

  static FarPiece of(const Piece& p, double unit) {
    const double one = 1.0 / unit;
    FarPiece far{};
    for (int i = 0; i < 2; ++i) {
      split(p.a[i] * one, p.a_low[i] * one, far.a[i], far.a_low[i]);
      split(p.b[i] * one, p.b_low[i] * one, far.b[i], far.b_low[i]);
      far.f1[i] = static_cast<T>(p.f1a[i]);
      far.f1b[i] = static_cast<T>(p.f1b[i]);
      far.t1[i] = static_cast<T>(p.t1[i]);
    }
    far.f0 = static_cast<T>(p.f0 * one);
    far.f2 = static_cast<T>(p.f2 * unit);
    far.t2 = static_cast<T>(p.t2 * unit);
    return far;
  }

  static void split(double number, double rest, T& high, T& low) {
    high = static_cast<T>(number);
    low = static_cast<T>((number - static_cast<double>(high)) + rest);
  }
};

// x minus an end.
template <typename P, typename T>
COLLOC_HD T offset(T x, P end, P low) {
  return (x - T(end)) - T(low);
}

// A point with respect to a piece: f, t, and the one of their gradients that is not constant: that
// of t for a line, that of f for a circle. The Hessians are multiples of the identity, one is 0.
template <typename T>
struct FarPlace {
  T f, t, grad[2];
};

// d and e: the point minus the piece's ends.
template <typename Form, typename P, typename T>
COLLOC_HD FarPlace<T> far_place(const FarPiece<P>& p, T dx, T dy, T ex, T ey) {
  const T zero = T(0);
  FarPlace<T> at{zero, zero, {zero, zero}};
  T f1x = T(p.f1[0]), f1y = T(p.f1[1]);
  if constexpr (Form::curved) {
    if constexpr (Form::ends) {  // from the nearer end
      const auto last = dx * dx + dy * dy > ex * ex + ey * ey;
      dx = select(last, ex, dx);
      dy = select(last, ey, dy);
      f1x = select(last, T(p.f1b[0]), f1x);
      f1y = select(last, T(p.f1b[1]), f1y);
      at.t = T(p.t1[0]) * dx + T(p.t1[1]) * dy;
    }
    const T f2 = T(p.f2), twice = T(p.f2 + p.f2);
    at.f = (T(p.f0) + (f1x * dx + f1y * dy)) + f2 * (dx * dx + dy * dy);
    at.grad[0] = f1x + twice * dx;
    at.grad[1] = f1y + twice * dy;
  } else {
    at.f = f1x * dx + f1y * dy;
    if constexpr (Form::ends) {
      const T t2 = T(p.t2);
      at.t = t2 * (dx * ex + dy * ey);
      at.grad[0] = t2 * (dx + ex);
      at.grad[1] = t2 * (dy + ey);
    }
  }
  return at;
}

// What trims f by t. NaN at an end.
template <typename T>
struct FarTrim {
  T inverse;  // 1 / Phi
  T half_w;
};

template <typename T>
COLLOC_HD FarTrim<T> far_trim(T f, T t, T k) {
  const T f2 = f * f, kf4 = k * f2 * f2, square = t * t + kf4;
  T inverse, sum, ratio;  // sum: Phi + |t|
  if constexpr (single<T>()) {
    inverse = reciprocal_root(square);
    sum = square * inverse + absolute(t);
    ratio = kf4 * reciprocal(sum);
  } else {  // one division for two
    const T root = square_root(square);
    sum = root + absolute(t);
    const T both = reciprocal(root * sum);
    inverse = both * sum;
    ratio = kf4 * (both * root);
  }
  return {inverse, T(0.25) * select(t >= T(0), ratio, sum)};
}

// A jet of f^2 + w^2 with half its derivatives. With v = grad (2 w) = grad Phi - grad t:
//   grad Phi = (t grad t + 2 k f^3 grad f) / Phi,
//   D2 Phi = (grad t grad t - grad Phi grad Phi + t D2 t
//             + k (6 f^2 grad f grad f + 2 f^3 D2 f)) / Phi,
//   half the gradient: f grad f + w v / 2,
//   half the Hessian: grad f grad f + f D2 f + v v / 4 + w (D2 Phi - D2 t) / 2.
template <JetOrder O, typename Form, typename P, typename T>
COLLOC_HD void far_square(const FarPiece<P>& p, const FarPlace<T>& at, const FarTrim<T>& trim, T k,
                          T* jet) {
  using Jet = JetForm<O, 2>;
  constexpr bool ends = Form::ends, curved = Form::curved;
  const T f = at.f, t = at.t, f2 = f * f, half_w = trim.half_w;
  jet[0] = f2;
  if constexpr (ends) jet[0] = jet[0] + T(4) * (half_w * half_w);
  if constexpr (Jet::gradient) {
    const T gf[2] = {curved ? at.grad[0] : T(p.f1[0]), curved ? at.grad[1] : T(p.f1[1])};
    const T gt[2] = {curved ? T(p.t1[0]) : at.grad[0], curved ? T(p.t1[1]) : at.grad[1]};
    const T hess_f = T(p.f2 + p.f2), hess_t = T(p.t2 + p.t2);
    T phi[2], v[2];
    const T kf2 = k * f2, twice = (kf2 + kf2) * f;
    const T across = t * trim.inverse, along = twice * trim.inverse;
    unroll<0, 2>([&](auto i) COLLOC_INLINE_LAMBDA {
      jet[1 + i] = f * gf[i];
      if constexpr (ends) {
        phi[i] = across * gt[i] + along * gf[i];
        v[i] = phi[i] - gt[i];
        jet[1 + i] = jet[1 + i] + half_w * v[i];
      }
    });
    // From products of gradients, of f, t, Phi and 2 w, and h, that of the directions. Without ends
    // the first alone counts.
    const auto second = [&](T ff, T tt, T pp, T vv, T h) COLLOC_INLINE_LAMBDA {
      T found = curved ? ff + h * (f * hess_f) : ff;
      if constexpr (ends) {
        const T level = h * (curved ? hess_f * twice : hess_t * t);
        T bend = trim.inverse * ((tt - pp) + (T(6) * (kf2 * ff) + level));
        if constexpr (!curved) bend = bend - h * hess_t;
        found = found + (T(0.25) * vv + half_w * bend);
      }
      return found;
    };
    if constexpr (Jet::laplacian) {
      const T ff = curved ? dot(gf, gf) : T(1);
      jet[Jet::trace] = ends ? second(ff, dot(gt, gt), dot(phi, phi), dot(v, v), T(2))
                             : second(ff, ff, ff, ff, T(2));
    }
    if constexpr (Jet::hessian) {
      unroll<0, 2>([&](auto i) COLLOC_INLINE_LAMBDA {
        unroll<i, 2>([&](auto j) COLLOC_INLINE_LAMBDA {
          const T ff = gf[i] * gf[j], h = T(i == j ? 1 : 0);
          jet[Jet::second(i, j)] = ends ? second(ff, gt[i] * gt[j], phi[i] * phi[j], v[i] * v[j], h)
                                        : second(ff, ff, ff, ff, h);
        });
      });
    }
  }
}

// Adds P^(-m/2) to `sum` and its derivatives divided by -m, from the jet of far_square; m is 1 or
// 2. With r = 1 / P, c = P^(-m/2) r and g, h half the derivatives of P:
//   grad: -m c g,  D2: -m c (h - (m + 2) r g g).
template <JetOrder O, int m, typename T>
COLLOC_HD void add_far_power(const T* square, T* sum) {
  using Jet = JetForm<O, 2>;
  const T power = m == 1 ? reciprocal_root(square[0]) : reciprocal(square[0]);
  const T inverse = m == 1 ? power * power : power;
  const T factor = power * inverse, slope = T(m + 2) * inverse;
  sum[0] = sum[0] + power;
  if constexpr (Jet::gradient) {
    unroll<0, 2>([&](auto i)
                     COLLOC_INLINE_LAMBDA { sum[1 + i] = sum[1 + i] + factor * square[1 + i]; });
  }
  if constexpr (Jet::laplacian) {
    const T inner = square[Jet::trace] - slope * gradient_square<2>(square);
    sum[Jet::trace] = sum[Jet::trace] + factor * inner;
  }
  if constexpr (Jet::hessian) {
    unroll<0, 2>([&](auto i) COLLOC_INLINE_LAMBDA {
      unroll<i, 2>([&](auto j) COLLOC_INLINE_LAMBDA {
        constexpr int ij = Jet::second(i, j);
        const T inner = square[ij] - slope * (square[1 + i] * square[1 + j]);
        sum[ij] = sum[ij] + factor * inner;
      });
    });
  }
}

// phi = S^(-1/m) from the sums of add_far_power, lengths times `unit`. With G the sums for the
// gradient, phi_i = phi / S G_i, and with H those of the second derivatives
//   phi_ij = phi / S (H_ij + (m + 1) / S G_i G_j).
template <JetOrder O, int m, typename T>
COLLOC_HD void far_distance(const T* sum, T unit, T* phi) {
  using Jet = JetForm<O, 2>;
  const T value = m == 1 ? reciprocal(sum[0]) : reciprocal_root(sum[0]);
  const T inverse = m == 1 ? value : value * value;
  const T factor = value * inverse, slope = T(m + 1) * inverse, second = factor / unit;
  phi[0] = value * unit;
  if constexpr (Jet::gradient) {
    unroll<0, 2>([&](auto i) COLLOC_INLINE_LAMBDA { phi[1 + i] = factor * sum[1 + i]; });
  }
  if constexpr (Jet::laplacian) {
    phi[Jet::trace] = second * (sum[Jet::trace] + slope * gradient_square<2>(sum));
  }
  if constexpr (Jet::hessian) {
    unroll<0, 2>([&](auto i) COLLOC_INLINE_LAMBDA {
      unroll<i, 2>([&](auto j) COLLOC_INLINE_LAMBDA {
        constexpr int ij = Jet::second(i, j);
        phi[ij] = second * (sum[ij] + slope * (sum[1 + i] * sum[1 + j]));
      });
    });
  }
}

}  // namespace colloc::math
