// Approximate distance functions of plane curves with derivatives up to the third (Sukumar &
// Srivastava, CMAME 389, 114333, 2022); many are joined by equivalence.h.
//
// Every piece is a curve f = 0, a line or a circle, trimmed by t >= 0, a circle or a line:
//   Phi = sqrt(t^2 + k f^4),  w = (Phi - t) / 2,  phi = sqrt(f^2 + w^2);  untrimmed: phi = |f|,
// with k = 1 / length^2, 1 as printed. The derivatives are written out by f and t, in forms that
// lose no digits near the piece, on it and near its ends; a chain rule takes them to x and y.
#pragma once

#include "math/elementary.h"
#include "math/jet.h"
#include "math/number.h"

namespace colloc::math {

// A piece with ends a and b (both the centre of a circle); n is x minus the nearer of them:
//   f = f0 + f1 . n + f2 |n|^2,   t = t1 . n + t2 (x - a) . (x - b),
// f1 at that end. Near a piece, and above all near its ends, differences of coordinates need all
// the digits: hence the two parts of an end, and the choice of the nearer one.
struct Piece {
  double a[2], a_low[2];  // low: what is lost by rounding
  double b[2], b_low[2];
  double f0, f1a[2], f1b[2], f2;  // f > 0 on the piece's inner side; |grad f| = 1 on the piece
  double t1[2], t2;
  double trimmed;  // 0: no ends, t is not used
  double extent;   // its size, which rounding is measured by
};
constexpr int piece_numbers = 19;
static_assert(sizeof(Piece) == piece_numbers * sizeof(double));

// A piece in the arithmetic's type T, for kernels that read the pieces often: the same names, what
// an end has beyond T in `low`. 16-byte aligned, in whole sixteens of bytes.
template <typename T>
struct alignas(16) PieceAs {
  T a[2], a_low[2], b[2], b_low[2];
  T f0, f1a[2], f1b[2], f2, t1[2], t2, extent;
  T form;  // 2 if trimmed, 1 more if curved
  T unused;

  COLLOC_HD_MEMBER static PieceAs of(const Piece& p) {
    PieceAs to;
    for (int i = 0; i < 2; ++i) {
      split(p.a[i], p.a_low[i], to.a[i], to.a_low[i]);
      split(p.b[i], p.b_low[i], to.b[i], to.b_low[i]);
      to.f1a[i] = static_cast<T>(p.f1a[i]);
      to.f1b[i] = static_cast<T>(p.f1b[i]);
      to.t1[i] = static_cast<T>(p.t1[i]);
    }
    to.f0 = static_cast<T>(p.f0);
    to.f2 = static_cast<T>(p.f2);
    to.t2 = static_cast<T>(p.t2);
    to.extent = static_cast<T>(p.extent);
    to.form = T((p.trimmed != 0 ? 2 : 0) + (p.f2 != 0 ? 1 : 0));
    to.unused = T(0);
    return to;
  }

  COLLOC_HD_MEMBER static void split(double number, double rest, T& high, T& low) {
    high = static_cast<T>(number);
    low = static_cast<T>((number - static_cast<double>(high)) + rest);
  }
};

// What a kernel is compiled for: f a line or a circle, trimmed or not.
template <bool Curved, bool Ends>
struct PieceForm {
  static constexpr bool curved = Curved, ends = Ends;
};

// Where a point lies with respect to a piece. F = |f|; one of the gradients is constant, and the
// Hessians are multiples of the identity.
template <typename T>
struct Place {
  T f, t;                  // F and t
  T side;                  // F = side f
  T grad_f[2], grad_t[2];  // of F and t
};

// Points farther out are taken as lying here, so that no power overflows.
template <typename S>
constexpr double farthest = sizeof(S) == 4 ? 1e8 : 1e30;
template <typename T>
constexpr double largest_f = single<T>() ? 1e9 : 1e70;

// A point, and the rounding of its coordinates in the dtype S.
template <typename T>
struct Point {
  T x, y, noise;
};

template <typename S, typename T>
COLLOC_HD Point<T> point_at(T x, T y) {
  const T far = number<T>(farthest<S>);
  x = select(x > far, far, select(x < -far, -far, x));
  y = select(y > far, far, select(y < -far, -far, y));
  return {x, y, number<T>(8.0 * rounding<S>) * (absolute(x) + absolute(y))};
}

// f and t at a point, and what their gradients are made of: `toward` is (x - a) + (x - b) for a
// line, n for a circle; f1 that of the nearer end.
template <typename T>
struct Offsets {
  T f, t, toward[2], f1[2];
};

// A coordinate minus that of an end, whose digits beyond T are taken off last: near the end the
// first difference is exact.
template <typename T, typename P>
COLLOC_HD T from_end(T x, P end, P low) {
  if constexpr (single<T>() && sizeof(P) == sizeof(double)) {
    const float high = static_cast<float>(end);
    return (x - T(high)) - T(static_cast<float>((end - static_cast<double>(high)) + low));
  } else {
    return (x - T(end)) - T(low);
  }
}

template <typename Form, typename T, typename P>
COLLOC_HD Offsets<T> offsets(const P& p, T x, T y) {
  const T dx = from_end(x, p.a[0], p.a_low[0]), dy = from_end(y, p.a[1], p.a_low[1]);
  Offsets<T> found;
  T nx = dx, ny = dy;
  found.f1[0] = number<T>(p.f1a[0]);
  found.f1[1] = number<T>(p.f1a[1]);
  T ex = dx, ey = dy;
  if constexpr (Form::ends) {
    ex = from_end(x, p.b[0], p.b_low[0]);
    ey = from_end(y, p.b[1], p.b_low[1]);
    const auto last = dx * dx + dy * dy > ex * ex + ey * ey;
    nx = select(last, ex, dx);
    ny = select(last, ey, dy);
    if constexpr (Form::curved) {
      found.f1[0] = select(last, number<T>(p.f1b[0]), found.f1[0]);
      found.f1[1] = select(last, number<T>(p.f1b[1]), found.f1[1]);
    }
  }
  found.f = found.f1[0] * nx + found.f1[1] * ny;
  if constexpr (Form::curved) {
    found.f = (number<T>(p.f0) + found.f) + number<T>(p.f2) * (nx * nx + ny * ny);
    if constexpr (Form::ends) found.t = number<T>(p.t1[0]) * nx + number<T>(p.t1[1]) * ny;
    found.toward[0] = nx;
    found.toward[1] = ny;
  } else if constexpr (Form::ends) {
    found.t = number<T>(p.t2) * (dx * ex + dy * ey);
    found.toward[0] = dx + ex;
    found.toward[1] = dy + ey;
  }
  return found;
}

// `on`: the point is known to lie on the piece, whatever its rounded coordinates say. Otherwise
// |f| <= 8 eps (|x| + extent) decides: on such a point the inside limits are taken, since which
// side rounding has put it on must not matter. Its value is kept down to the rounding of f.
template <typename Form, typename S, typename T, typename Mask, typename P>
COLLOC_HD Place<T> place(const P& p, const Offsets<T>& at, T noise, Mask on) {
  constexpr double eps = static_cast<double>(rounding<S>);
  const T zero = T(0), one = T(1), limit = number<T>(largest_f<T>);
  const T none = number<T>(static_cast<decltype(p.extent)>(4 * eps) * p.extent);
  const T size = absolute(at.f);
  const auto no_f = on | (size <= none);
  Place<T> found;
  found.side = select(on | (at.f + (noise + (none + none)) >= zero), one, -one);
  found.f = select(no_f, zero, smaller(size, limit));
  if constexpr (Form::curved) {
    const T twice = number<T>(2 * p.f2);
    found.grad_f[0] = found.side * (at.f1[0] + twice * at.toward[0]);
    found.grad_f[1] = found.side * (at.f1[1] + twice * at.toward[1]);
    found.grad_t[0] = Form::ends ? number<T>(p.t1[0]) : zero;
    found.grad_t[1] = Form::ends ? number<T>(p.t1[1]) : zero;
  } else {
    found.grad_f[0] = found.side * number<T>(p.f1a[0]);
    found.grad_f[1] = found.side * number<T>(p.f1a[1]);
    found.grad_t[0] = Form::ends ? number<T>(p.t2) * at.toward[0] : zero;
    found.grad_t[1] = Form::ends ? number<T>(p.t2) * at.toward[1] : zero;
  }
  if constexpr (Form::ends) {
    // On the piece, t is not below 0; away from it, only its rounding is taken off.
    const T least = select(on, zero, select(no_f & (at.t >= -none), zero, -limit * limit));
    found.t = smaller(select(at.t < least, least, at.t), limit * limit);
  }
  return found;
}

// phi and its derivatives by F and t.
template <typename T>
struct Trimmed {
  T value, f, t, ff, ft, tt, fff, fft, ftt, ttt;
};

// With (c, s) = (F, w) / phi and omega = (s dF - c dw) / phi:
//   D phi = c dF + s dw,  D2 phi = phi omega omega + s D2 w,
//   D3 phi = -3 omega omega Dphi - 3 c omega D2 w + s D3 w (symmetrised).
template <int Degree, typename T>
COLLOC_HD Trimmed<T> trimmed(T f, T t, T k) {
  Trimmed<T> h;
  const T zero = T(0), one = T(1), two = T(2), least = number<T>(smallest<T>);
  const T f2 = f * f, kf2 = k * f2, kf3 = kf2 * f;
  const T root = square_root(t * t + (kf2 * f2 + least));  // Phi
  const T inverse = one / root;
  const auto before = t >= zero;  // between the ends
  const T sum = root + select(before, t, -t);
  const T half = T(0.5) / sum;
  const T ratio = kf3 * half;  // w / F between the ends
  const T w = select(before, ratio * f, T(0.5) * sum);
  const T norm = square_root(select(before, one + ratio * ratio, f2 + w * w));
  const T inverse_norm = one / norm;
  const T c = select(before, inverse_norm, f * inverse_norm);
  const T s = select(before, ratio, w) * inverse_norm;
  h.value = select(before, f * norm, norm);
  if constexpr (Degree >= 1) {
    const T w_f = kf3 * inverse, w_t = -(w * inverse);
    h.f = c + s * w_f;
    h.t = s * w_t;
    if constexpr (Degree >= 2) {
      const T x = kf2 * inverse * (f2 * inverse);  // in [0, 1]
      const T slope = t * inverse;                 // in [-1, 1]
      const T w_ff = kf2 * inverse * (T(3) - two * x);
      const T w_ft = -(w_f * slope * inverse);
      const T w_tt = T(0.5) * x * inverse;
      const T o_f = select(before, c * c * kf2 * (half - inverse), (s - c * w_f) * inverse_norm);
      const T o_t = c * s * inverse;
      h.ff = h.value * o_f * o_f + s * w_ff;
      h.ft = h.value * o_f * o_t + s * w_ft;
      h.tt = h.value * o_t * o_t + s * w_tt;
      if constexpr (Degree >= 3) {
        const T w_fff = T(6) * k * f * inverse * (one - T(3) * x + two * x * x);
        const T w_fft = kf2 * inverse * (slope * inverse) * (T(6) * x - T(3));
        const T w_ftt = w_f * inverse * inverse * (T(2) - T(3) * x);
        const T w_ttt = T(-1.5) * x * slope * inverse * inverse;
        h.fff = -(T(3) * o_f) * (o_f * h.f + c * w_ff) + s * w_fff;
        h.fft = -o_f * (o_f * h.t + T(2) * o_t * h.f) - c * (T(2) * o_f * w_ft + o_t * w_ff) +
                s * w_fft;
        h.ftt = -o_t * (o_t * h.f + T(2) * o_f * h.t) - c * (T(2) * o_t * w_ft + o_f * w_tt) +
                s * w_ftt;
        h.ttt = -(T(3) * o_t) * (o_t * h.t + c * w_tt) + s * w_ttt;
      }
    }
  }
  return h;
}

template <typename T>
COLLOC_HD T dot(const T* a, const T* b) {
  return a[0] * b[0] + a[1] * b[1];
}

// The jet of phi by x and y from its derivatives by F and t, whose Hessians are hf and ht times
// the identity.
template <JetOrder O, typename Piece, typename T>
COLLOC_HD void chain(const Trimmed<T>& h, const Place<T>& at, T hf, T ht, T* jet) {
  using Form = JetForm<O, 2>;
  const T *gf = at.grad_f, *gt = at.grad_t;
  jet[0] = h.value;
  if constexpr (Form::gradient) {
    unroll<0, 2>([&](auto i)
                     COLLOC_INLINE_LAMBDA { jet[Form::first(i)] = h.f * gf[i] + h.t * gt[i]; });
  }
  // One of the Hessians is 0.
  const T level = Piece::curved ? h.f * hf : h.t * ht;
  if constexpr (Form::laplacian) {
    jet[Form::trace] = (Piece::curved ? h.ff * dot(gf, gf) : h.ff) +
                       T(2) * (h.ft * dot(gf, gt) + level) +
                       (Piece::curved ? h.tt : h.tt * dot(gt, gt));
  }
  if constexpr (Form::hessian) {
    unroll<0, 2>([&](auto i) COLLOC_INLINE_LAMBDA {
      unroll<i, 2>([&](auto j) COLLOC_INLINE_LAMBDA {
        jet[Form::second(i, j)] = h.ff * (gf[i] * gf[j]) + h.tt * (gt[i] * gt[j]) +
                                  h.ft * (gf[i] * gt[j] + gt[i] * gf[j]) + (i == j ? level : T(0));
      });
    });
  }
  if constexpr (Form::degree == 3) {
    T by_f[2], by_t[2], slope[2];  // gradients of phi_f, phi_t, and of `level`
    unroll<0, 2>([&](auto i) COLLOC_INLINE_LAMBDA {
      by_f[i] = h.ff * gf[i] + h.ft * gt[i];
      by_t[i] = h.ft * gf[i] + h.tt * gt[i];
      slope[i] = by_f[i] * hf + by_t[i] * ht;
    });
    const auto third = [&](auto i, auto j, auto k) COLLOC_INLINE_LAMBDA {
      T sum = h.fff * (gf[i] * gf[j] * gf[k]) + h.ttt * (gt[i] * gt[j] * gt[k]) +
              h.fft * (gf[i] * gf[j] * gt[k] + gf[i] * gt[j] * gf[k] + gt[i] * gf[j] * gf[k]) +
              h.ftt * (gf[i] * gt[j] * gt[k] + gt[i] * gf[j] * gt[k] + gt[i] * gt[j] * gf[k]);
      if constexpr (i == j) sum = sum + slope[k];
      if constexpr (i == k) sum = sum + slope[j];
      if constexpr (j == k) sum = sum + slope[i];
      return sum;
    };
    const Index<0> zero;
    const Index<1> one;
    const T xxx = third(zero, zero, zero), xxy = third(zero, zero, one);
    const T xyy = third(zero, one, one), yyy = third(one, one, one);
    if constexpr (Form::third) {
      jet[Form::third_at(0, 0, 0)] = xxx;
      jet[Form::third_at(0, 0, 1)] = xxy;
      jet[Form::third_at(0, 1, 1)] = xyy;
      jet[Form::third_at(1, 1, 1)] = yyy;
    } else {
      jet[Form::slope(0)] = xxx + xyy;
      jet[Form::slope(1)] = xxy + yyy;
    }
  }
}

// The jet of one piece's phi.
template <JetOrder O, typename Form, typename T, typename P>
COLLOC_HD void piece_jet(const P& p, const Place<T>& at, T k, T* jet) {
  const T zero = T(0);
  Trimmed<T> h;
  if constexpr (Form::ends) {
    h = trimmed<JetForm<O, 2>::degree>(at.f, at.t, k);
  } else {
    h = {at.f, T(1), zero, zero, zero, zero, zero, zero, zero, zero};
  }
  const T hf = Form::curved ? at.side * number<T>(2 * p.f2) : zero;
  const T ht = Form::ends && !Form::curved ? number<T>(2 * p.t2) : zero;
  chain<O, Form>(h, at, hf, ht, jet);
}

// Calls work(PieceForm) for a piece's form.
template <typename Work>
COLLOC_HD void with_form(const Piece& p, const Work& work) {
  if (p.trimmed != 0) {
    if (p.f2 != 0) {
      work(PieceForm<true, true>{});
    } else {
      work(PieceForm<false, true>{});
    }
  } else if (p.f2 != 0) {
    work(PieceForm<true, false>{});
  } else {
    work(PieceForm<false, false>{});
  }
}

template <typename T, typename Work>
COLLOC_HD void with_form(const PieceAs<T>& p, const Work& work) {
  if (p.form == T(3)) return work(PieceForm<true, true>{});
  if (p.form == T(2)) return work(PieceForm<false, true>{});
  if (p.form == T(1)) return work(PieceForm<true, false>{});
  work(PieceForm<false, false>{});
}

}  // namespace colloc::math
