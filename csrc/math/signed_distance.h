// The signed distance of points to closed plane pieces, straight and circular ones: how far the
// nearest piece is, and how often the pieces run around a point.
//
// Turns are counted by a ray in the direction of x, without angles. A piece's chord counts if its
// lower end is not above the point and its upper end is: ends that meet are the same numbers, so
// that a ray through a vertex or along a chord counts once. This is what a point a little higher
// up would see, and the side of a horizontal chord is decided likewise. Between an arc and its
// chord lies one turn more; which side of the chord a point is on is asked once for both, so that
// the chord itself, which is no boundary, leaves no trace.
#pragma once

#include <cmath>

#include "math/elementary.h"
#include "math/number.h"

namespace colloc::math {

// Points in the direction e from p1, at arc lengths from low to high (infinite: a line). q1 and q2
// are p1 and p2, where pieces meet the same numbers for all of them.
struct StraightPiece {
  double p1[2], p2[2], e[2], low, high, q1[2], q2[2];
};
constexpr int straight_numbers = 12;
static_assert(sizeof(StraightPiece) == straight_numbers * sizeof(double));

// The arc around c of radius r, from p1 counter-clockwise to p2, `half` of its angle (infinite: a
// circle) to either side of its middle a = c + r u. side: 1 if the domain lies towards c, else -1.
// The cosine and sine are those of half, of a circle -1 and 0.
struct CircularPiece {
  double c[2], a[2], u[2], r, half, side, p1[2], p2[2], q1[2], q2[2], cosine, sine;
};
constexpr int circular_numbers = 19;
static_assert(sizeof(CircularPiece) == circular_numbers * sizeof(double));

// Where a point lies with respect to a piece.
template <typename T, typename Mask>
struct Foot {
  T offset;     // from its line or circle, positive on the domain's side
  Mask within;  // whether the foot of the perpendicular is on the piece
  T distance;   // |offset| within, else that to an end
};

template <typename T>
COLLOC_HD T length_of(T dx, T dy) {
  return square_root(dx * dx + dy * dy);
}

template <typename T>
COLLOC_HD auto foot(const StraightPiece& p, T x, T y) {
  const T ex = number<T>(p.e[0]), ey = number<T>(p.e[1]);
  const T dx = x - number<T>(p.p1[0]), dy = y - number<T>(p.p1[1]);
  const T offset = ex * dy - ey * dx, along = ex * dx + ey * dy;
  const auto before = along < T(0);
  const T gap_x = select(before, dx, x - number<T>(p.p2[0]));
  const T gap_y = select(before, dy, y - number<T>(p.p2[1]));
  const auto within = (along >= number<T>(p.low)) & (along <= number<T>(p.high));
  const T distance = select(within, absolute(offset), length_of(gap_x, gap_y));
  return Foot<T, decltype(within)>{offset, within, distance};
}

// Near the middle the distance comes from d = x - a, by |x - c|^2 / r^2 = 1 + q with
// q = (2 u . d + |d|^2 / r) / r: the centre may be far away. The foot is within the angle `half`
// of the middle where the sine of the difference of both angles is not above 0.
template <typename T>
COLLOC_HD auto foot(const CircularPiece& p, T x, T y) {
  const T ux = number<T>(p.u[0]), uy = number<T>(p.u[1]), r = number<T>(p.r), bound = T(0.5);
  const T dx = x - number<T>(p.a[0]), dy = y - number<T>(p.a[1]);
  const T out = ux * dx + uy * dy, across = ux * dy - uy * dx;
  T q = (T(2) * out + (dx * dx + dy * dy) / r) / r;
  q = select(q > bound, bound, select(q < -bound, -bound, q));
  const T near = r * q / (T(1) + square_root(T(1) + q));
  const T far = length_of(x - number<T>(p.c[0]), y - number<T>(p.c[1])) - r;
  const T offset = number<T>(-p.side) * select(absolute(q) < bound, near, far);
  const auto first = across < T(0);
  const T gap_x = x - select(first, number<T>(p.p1[0]), number<T>(p.p2[0]));
  const T gap_y = y - select(first, number<T>(p.p1[1]), number<T>(p.p2[1]));
  const auto within = absolute(across) * number<T>(p.cosine) <= (r + out) * number<T>(p.sine);
  const T distance = select(within, absolute(offset), length_of(gap_x, gap_y));
  return Foot<T, decltype(within)>{offset, within, distance};
}

// Nearer to a piece than this, rounding could have put a point on either side.
template <typename T, typename S>
COLLOC_HD T on_piece(T x, T y, S size) {
  return number<T>(8 * rounding<S>) * (absolute(x) + absolute(y) + T(size));
}

// A chord, from its lower to its upper end; a horizontal one from right to left.
struct Chord {
  double x, y, dx, dy, top;
  bool turned;  // whether the piece runs downwards, or from left to right
};

COLLOC_HD Chord chord_of(const double* q1, const double* q2) {
  const bool turned = q1[1] > q2[1] || (q1[1] == q2[1] && q1[0] < q2[0]);
  const double *from = turned ? q2 : q1, *to = turned ? q1 : q2;
  return {from[0], from[1], to[0] - from[0], to[1] - from[1], to[1], turned};
}

// Whether a point lies left of a chord, looking up.
template <typename D>
COLLOC_HD auto left_of(const Chord& c, D x, D y) {
  return D(c.dx) * (y - D(c.y)) > D(c.dy) * (x - D(c.x));
}

// The turns that a piece contributes to those around a point; in double, whatever the dtype.
template <typename D>
COLLOC_HD D turns(const StraightPiece& p, D x, D y) {
  const Chord c = chord_of(p.q1, p.q2);
  const auto level = (y >= D(c.y)) & (y < D(c.top));
  return select(level & left_of(c, x, y), D(c.turned ? -1.0 : 1.0), D(0.0));
}

template <typename D>
COLLOC_HD D turns(const CircularPiece& p, D x, D y) {
  const D dx = x - D(p.a[0]), dy = y - D(p.a[1]), none = D(0.0);
  const auto within = D(2 * p.r) * (D(p.u[0]) * dx + D(p.u[1]) * dy) + (dx * dx + dy * dy) < none;
  const D side = D(p.side);
  if (p.q1[0] == p.q2[0] && p.q1[1] == p.q2[1]) {  // a circle, or less than rounding
    return p.cosine < 0 ? select(within, side, none) : none;
  }
  const Chord c = chord_of(p.q1, p.q2);
  const auto level = (y >= D(c.y)) & (y < D(c.top));
  const auto left = left_of(c, x, y);
  if (c.turned) {
    return select(level & left, -side, none) + select(within & left, side, none);
  }
  return select(level & left, side, none) + select(within & !left, side, none);
}

// The direction in which the distance to a piece grows, or its offset where the foot is within.
template <typename T>
struct Direction {
  T x, y;
};

// 0 where it has no length.
template <typename T>
COLLOC_HD Direction<T> unit(T x, T y) {
  const T length = length_of(x, y);
  const T scale = length > T(0) ? T(1) / length : T(0);
  return {scale * x, scale * y};
}

template <typename T>
COLLOC_HD Direction<T> direction(const StraightPiece& p, T x, T y, bool within) {
  if (within) return {static_cast<T>(-p.e[1]), static_cast<T>(p.e[0])};
  const T ex = static_cast<T>(p.e[0]), ey = static_cast<T>(p.e[1]);
  const T dx = x - static_cast<T>(p.p1[0]), dy = y - static_cast<T>(p.p1[1]);
  if (ex * dx + ey * dy < T(0)) return unit(dx, dy);
  return unit(x - static_cast<T>(p.p2[0]), y - static_cast<T>(p.p2[1]));
}

template <typename T>
COLLOC_HD Direction<T> direction(const CircularPiece& p, T x, T y, bool within) {
  const T ux = static_cast<T>(p.u[0]), uy = static_cast<T>(p.u[1]);
  const T dx = x - static_cast<T>(p.a[0]), dy = y - static_cast<T>(p.a[1]);
  if (within) {  // (x - c) / r = u + d / r
    const T inner = static_cast<T>(-p.side), r = static_cast<T>(p.r);
    return unit(inner * (ux + dx / r), inner * (uy + dy / r));
  }
  const double* end = ux * dy - uy * dx < T(0) ? p.p1 : p.p2;
  return unit(x - static_cast<T>(end[0]), y - static_cast<T>(end[1]));
}

// The derivative of the signed distance, from a point's nearest piece and the side it is on.
template <typename Piece, typename T>
COLLOC_HD Direction<T> slope(const Piece& p, T x, T y, T size, bool inside) {
  const auto at = foot(p, x, y);
  const Direction<T> found = direction(p, x, y, at.within);
  const bool close = at.within && at.distance <= on_piece(x, y, size);
  const bool grows = at.within && at.offset < T(0) ? !inside : inside;
  const T sign = close || grows ? T(1) : T(-1);
  return {sign * found.x, sign * found.y};
}

}  // namespace colloc::math
