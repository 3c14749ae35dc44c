// Distance functions away from the pieces in one sweep, piece after piece, without the nearest one
// known and without cancellation near it. With c_i = phi_i^-m, q_i = grad phi_i / phi_i and
// h_i = D2 phi_i / phi_i
//   S = sum_i c_i,  mean = sum_i c_i q_i / S,
//   bend = sum_i c_i (h_i - (m + 1) (q_i - mean) (q_i - mean)),
//   phi = S^(-1/m),  grad phi = phi mean,  D2 phi = phi bend / S:
// sums of squares about the mean lose nothing where one c_i is by far the largest, those of q_i q_i
// alone (distance_far.h) lose eps / phi. A further piece changes them by Welford's rule
// (Technometrics 4, 1962): with d = q - mean and the share r = c / (S + c)
//   mean += r d,  bend += c (h - (m + 1) (1 - r) d d).
//
// A piece's terms, with w = (Phi - t) / 2 and P = phi_i^2 = f^2 + w^2:
//   P q = f grad f + w grad w,
//   P h = a a / P + f D2 f + w D2 w,  a = f grad w - w grad f,
//   grad w = (k f^3 grad f - w grad t) / Phi,
//   D2 w = (3 k f^2 grad f grad f + k f^3 D2 f - sym(grad w, grad t + grad w)
//           - w D2 t) / Phi,  sym(a, b) = a b + b a,
// NaN at a piece's end.
#pragma once

#include "math/approximate.h"
#include "math/distance.h"

namespace colloc::math {

// Without a comparison, unlike absolute(), whose loops have to vectorise.
template <typename T>
COLLOC_HD T magnitude(T x) {
  return std::fabs(x);
}

// Where the sweep serves, in units of the pieces' extent: at points at most `reach` from their
// centre whose phi is above `least`, or above 64 times the rounding of coordinates if that is more
// and not above `most`, if no piece is smaller than `shortest` and neither k nor an arc's |f| leave
// what a T can take. S: dtype of the points, T: that of the arithmetic.
template <typename S, typename T>
struct RunningLimits {
  static constexpr double least = sizeof(S) == 4 ? 1e-5 : 1e-7;
  static constexpr double most = 1e-2;
  static constexpr double reach = sizeof(T) == 4 ? 4 : 1e3;
  static constexpr double shortest = sizeof(T) == 4 ? 1e-3 : 1e-6;
  static constexpr double curving = 1e8;
  static constexpr double steepest = sizeof(T) == 4 ? 1e16 : 1e140;  // of k f^4
};

// What holds for all pieces; they are sorted: straight ones with ends, arcs, circles.
template <typename T>
struct alignas(16) RunningHeader {
  T scale, unit;  // powers of two, the one the inverse of the other
  T centre[2], curving, least;
  int serves;                 // 0: the sweep serves no point
  int straight, arcs, count;  // how many are straight, with the arcs, with the circles
  T unused[2];
};

// A piece in units of `unit`, in 16 numbers. Of a segment f and the length along it are
//   normal . (x - a) + offset_a[0],  along . (x - a) + offset_a[1],
// the offsets being what the ends have beyond their digits; from b likewise.
template <typename T>
struct alignas(16) RunningSegment {
  T a[2], b[2], normal[2], offset_a[2], offset_b[2];
  T t2, twice_t2;
  T unused[4];
};

template <typename T>
struct alignas(16) RunningCurve {
  T a[2], a_low[2], b[2], b_low[2], f1a[2], f1b[2], t1[2], f0, f2;
};

constexpr int running_numbers = 16;
static_assert(sizeof(RunningSegment<float>) == running_numbers * sizeof(float));
static_assert(sizeof(RunningCurve<double>) == running_numbers * sizeof(double));

template <typename T>
COLLOC_HD RunningSegment<T> running_segment(const Piece& p, double unit) {
  const double one = 1.0 / unit;
  RunningSegment<T> to{};
  T a_low[2], b_low[2];
  for (int i = 0; i < 2; ++i) {
    PieceAs<T>::split(p.a[i] * one, p.a_low[i] * one, to.a[i], a_low[i]);
    PieceAs<T>::split(p.b[i] * one, p.b_low[i] * one, to.b[i], b_low[i]);
    to.normal[i] = static_cast<T>(p.f1a[i]);
  }
  const auto offsets = [&](const T* low, T* offset) {
    offset[0] = -(to.normal[0] * low[0] + to.normal[1] * low[1]);
    offset[1] = -(to.normal[0] * low[1] - to.normal[1] * low[0]);
  };
  offsets(a_low, to.offset_a);
  offsets(b_low, to.offset_b);
  to.t2 = static_cast<T>(p.t2 * unit);
  to.twice_t2 = to.t2 + to.t2;
  return to;
}

template <typename T>
COLLOC_HD RunningCurve<T> running_curve(const Piece& p, double unit) {
  const double one = 1.0 / unit;
  RunningCurve<T> to{};
  for (int i = 0; i < 2; ++i) {
    PieceAs<T>::split(p.a[i] * one, p.a_low[i] * one, to.a[i], to.a_low[i]);
    PieceAs<T>::split(p.b[i] * one, p.b_low[i] * one, to.b[i], to.b_low[i]);
    to.f1a[i] = static_cast<T>(p.f1a[i]);
    to.f1b[i] = static_cast<T>(p.f1b[i]);
    to.t1[i] = static_cast<T>(p.t1[i]);
  }
  to.f0 = static_cast<T>(p.f0 * one);
  to.f2 = static_cast<T>(p.f2 * unit);
  return to;
}

// The sums of the pieces so far. Of `bend` one number for the Laplacian, three for the Hessian.
template <JetOrder O, int m, typename T>
struct RunningSum {
  using Form = JetForm<O, 2>;
  static constexpr int bends = Form::laplacian ? 1 : 3;
  T sum = T(0), mean[2] = {T(0), T(0)}, bend[bends] = {};

  // P^(-m/2), and 1 / P.
  COLLOC_HD_MEMBER static T power(T square, T& inverse) {
    if constexpr (m == 1) {
      const T c = quick_reciprocal_root(square);
      inverse = c * c;
      return c;
    } else {
      inverse = quick_reciprocal(square);
      return inverse;
    }
  }

  COLLOC_HD_MEMBER void add(T c, const T* q, const T* h) {
    const T before = sum;
    sum = before + c;
    if constexpr (Form::gradient) {
      const T inverse = quick_reciprocal(sum);
      const T share = c * inverse;
      const T dx = q[0] - mean[0], dy = q[1] - mean[1];
      mean[0] = mean[0] + share * dx;
      mean[1] = mean[1] + share * dy;
      if constexpr (Form::degree == 2) {
        const T slope = T(-(m + 1)) * (before * inverse);
        if constexpr (Form::laplacian) {
          bend[0] = bend[0] + c * (h[0] + slope * (dx * dx + dy * dy));
        } else {
          bend[0] = bend[0] + c * (h[0] + slope * (dx * dx));
          bend[1] = bend[1] + c * (h[1] + slope * (dx * dy));
          bend[2] = bend[2] + c * (h[2] + slope * (dy * dy));
        }
      }
    }
  }

  // Returns phi in `unit`s.
  COLLOC_HD_MEMBER T finish(T unit, T scale, T* jet) const {
    T inverse;
    T phi;
    if constexpr (m == 1) {
      phi = inverse = quick_reciprocal(sum);
    } else {
      phi = quick_reciprocal_root(sum);
      inverse = phi * phi;
    }
    jet[0] = phi * unit;
    if constexpr (Form::gradient) {
      jet[1] = phi * mean[0];
      jet[2] = phi * mean[1];
    }
    if constexpr (Form::degree == 2) {
      const T factor = phi * inverse * scale;
      unroll<0, bends>([&](auto i) COLLOC_INLINE_LAMBDA { jet[3 + i] = factor * bend[i]; });
    }
    return phi;
  }
};

// Hands `add` a trimmed piece's c, q and h, from f, t, their gradients and their Hessians, which
// are multiples of the identity: their traces for the Laplacian, else their diagonal elements.
// Frame: of axes along grad f, which is (1, 0), and D2 f = 0.
template <bool Frame, JetOrder O, int m, typename T, typename Add>
COLLOC_HD void running_terms(T f, T t, const T* gf, const T* gt, T hess_f, T half_hess_t, T k,
                             const Add& add) {
  using Form = JetForm<O, 2>;
  using Sum = RunningSum<O, m, T>;
  const T f2 = f * f, kf2 = k * f2, kf4 = kf2 * f2;
  const T square = t * t + kf4;
  const T over = quick_reciprocal_root(square);  // 1 / Phi
  const T sum = square * over + magnitude(t);
  const T twice_w = select(t >= T(0), kf4 * quick_reciprocal(sum), sum), w = T(0.5) * twice_w;
  T inverse, q[2] = {T(0), T(0)}, h[3] = {T(0), T(0), T(0)};
  const T c = Sum::power(f2 + w * w, inverse);
  if constexpr (Form::gradient) {
    const T kf3 = kf2 * f, w_f = kf3 * over, w_t = -(w * over);
    T gw[2];  // grad w
    if constexpr (Frame) {
      gw[0] = w_f + w_t * gt[0];
      gw[1] = w_t * gt[1];
      q[0] = inverse * (f + w * gw[0]);
      q[1] = inverse * (w * gw[1]);
    } else {
      unroll<0, 2>([&](auto i) COLLOC_INLINE_LAMBDA {
        gw[i] = w_f * gf[i] + w_t * gt[i];
        q[i] = inverse * (f * gf[i] + w * gw[i]);
      });
    }
    if constexpr (Form::degree == 2) {
      const T a[2] = {f * gw[0] - (Frame ? w : w * gf[0]),
                      Frame ? f * gw[1] : f * gw[1] - w * gf[1]};
      const T u[2] = {gt[0] + gw[0], gt[1] + gw[1]};
      const T half_kf3_hess = kf3 * (T(0.5) * hess_f);
      // From products of the vectors, wu half the symmetric one; `level`: a diagonal element.
      const auto bend = [&](T aa, T ff, T wu, bool level) COLLOC_INLINE_LAMBDA {
        T half = T(1.5) * kf2 * ff - wu;  // Phi D2 w / 2 without D2 t
        if constexpr (Frame) half = T(1.5) * kf2 - wu;
        if (level && !Frame) half = half + half_kf3_hess;
        T half_d2w = over * half;
        if (level) half_d2w = half_d2w + w_t * half_hess_t;
        T found = aa * inverse + twice_w * half_d2w;
        if (level && !Frame) found = found + f * hess_f;
        return found * inverse;
      };
      if constexpr (Form::laplacian) {
        const T wu = gw[0] * u[0] + gw[1] * u[1];
        h[0] = bend(dot(a, a), Frame ? T(1) : dot(gf, gf), wu, true);
      } else {
        h[0] = bend(a[0] * a[0], gf[0] * gf[0], gw[0] * u[0], true);
        h[1] = bend(a[0] * a[1], gf[0] * gf[1], T(0.5) * (gw[0] * u[1] + gw[1] * u[0]), false);
        h[2] = bend(a[1] * a[1], gf[1] * gf[1], gw[1] * u[1], true);
      }
    }
  }
  add(c, q, h);
}

template <JetOrder O, int m, typename T>
COLLOC_HD void add_segment(const RunningSegment<T>& p, T x, T y, T k, RunningSum<O, m, T>& to) {
  using Form = JetForm<O, 2>;
  const T dx = x - p.a[0], dy = y - p.a[1], ex = x - p.b[0], ey = y - p.b[1];
  const T nx = p.normal[0], ny = p.normal[1];  // along the piece: (-ny, nx)
  const T one = nx * dy - (ny * dx - p.offset_a[1]), two = nx * ey - (ny * ex - p.offset_b[1]);
  const T f_a = nx * dx + (ny * dy + p.offset_a[0]), f_b = nx * ex + (ny * ey + p.offset_b[0]);
  const T f = select(magnitude(one) > magnitude(two), f_b, f_a);
  const T t = p.t2 * (one * two + f * f);
  // grad t along the normal and along the piece
  const T gt[2] = {p.twice_t2 * f, p.t2 * (one + two)};
  if constexpr (Form::hessian) {
    const T gf[2] = {nx, ny}, all[2] = {nx * gt[0] - ny * gt[1], ny * gt[0] + nx * gt[1]};
    running_terms<false, O, m>(f, t, gf, all, T(0), p.t2, k,
                               [&](T c, const T* q, const T* h)
                                   COLLOC_INLINE_LAMBDA { to.add(c, q, h); });
  } else {
    running_terms<true, O, m>(f, t, gt, gt, T(0), p.twice_t2, k,
                              [&](T c, const T* q, const T* h) COLLOC_INLINE_LAMBDA {
                                const T turned[2] = {nx * q[0] - ny * q[1], ny * q[0] + nx * q[1]};
                                to.add(c, turned, h);
                              });
  }
}

// Ends: an arc, else a circle, whose a is its centre.
template <bool Ends, JetOrder O, int m, typename T>
COLLOC_HD void add_curve(const RunningCurve<T>& p, T x, T y, T k, RunningSum<O, m, T>& to) {
  using Form = JetForm<O, 2>;
  T nx = (x - p.a[0]) - p.a_low[0], ny = (y - p.a[1]) - p.a_low[1];
  T f1x = p.f1a[0], f1y = p.f1a[1];
  if constexpr (Ends) {
    const T ex = (x - p.b[0]) - p.b_low[0], ey = (y - p.b[1]) - p.b_low[1];
    const bool last = nx * nx + ny * ny > ex * ex + ey * ey;
    nx = select(last, ex, nx);
    ny = select(last, ey, ny);
    f1x = select(last, p.f1b[0], f1x);
    f1y = select(last, p.f1b[1], f1y);
  }
  const T f = (p.f0 + (f1x * nx + f1y * ny)) + p.f2 * (nx * nx + ny * ny);
  const T twice = p.f2 + p.f2;
  const T gf[2] = {f1x + twice * nx, f1y + twice * ny};
  const T hess_f = Form::laplacian ? twice + twice : twice;  // its trace, or a diagonal element
  if constexpr (Ends) {
    const T t = p.t1[0] * nx + p.t1[1] * ny;
    running_terms<false, O, m>(f, t, gf, p.t1, hess_f, T(0), k,
                               [&](T c, const T* q, const T* h)
                                   COLLOC_INLINE_LAMBDA { to.add(c, q, h); });
  } else {
    T inverse, q[2], h[3];
    const T c = RunningSum<O, m, T>::power(f * f, inverse);
    const T factor = inverse * f;  // 1 / f
    q[0] = factor * gf[0];
    q[1] = factor * gf[1];
    h[0] = h[2] = factor * hess_f;
    h[1] = T(0);
    to.add(c, q, h);
  }
}

}  // namespace colloc::math
