// The signed distance as kernels for many points compute it: the smallest squared distance and the
// turns in one sweep, from rows of numbers made once, in the points' type. Where this could decide
// a side otherwise than signed_distance.h does, it says so: `doubtful`. Points nearer to a piece
// than rounding are left to the caller.
//
// In double turns are the comparisons of signed_distance.h. In single precision the ends' heights
// are rounded up, which leaves all comparisons of a float as they are; whether a point lies left of
// a chord, or within an arc's circle, is said from float numbers and doubted where it is nearer to
// the chord or circle than 8 times their rounding. Nothing but explicit fma() may be fused here.
#pragma once

#include "math/approximate.h"
#include "math/signed_distance.h"

namespace colloc::math {

// 16 times the rounding of a result to T.
template <typename T>
constexpr T doubt = T(8) * rounding<T>;

// The least T that is not below a number.
template <typename T>
COLLOC_HD T rounded_up(double number) {
  if constexpr (sizeof(T) == 8) {
    return number;
  } else {
    const float near = static_cast<float>(number);
    if (!(static_cast<double>(near) < number)) return near;
    if (near == 0.0f) return bits_as<float>(1);
    const int32_t bits = bits_as<int32_t>(near);
    return bits_as<float>(near > 0.0f ? bits + 1 : bits - 1);
  }
}

constexpr int quick_straight_numbers = 16, quick_circular_numbers = 24;

template <typename T>
struct alignas(16) QuickStraight {
  T p[2], e[2], low, high;
  T bottom, top;       // the heights of the chord's ends
  T x, y, dx, dy;      // the chord; for float dx is the slope dx / dy
  T tolerance, turns;  // of a crossing; what a crossing on the right counts
  T unused[2];

  COLLOC_HD_MEMBER static QuickStraight of(const StraightPiece& s) {
    const Chord c = chord_of(s.q1, s.q2);
    QuickStraight to{};
    for (int i = 0; i < 2; ++i) {
      to.p[i] = static_cast<T>(s.p1[i]);
      to.e[i] = static_cast<T>(s.e[i]);
    }
    to.low = static_cast<T>(s.low);
    to.high = static_cast<T>(s.high);
    to.bottom = rounded_up<T>(c.y);
    to.top = rounded_up<T>(c.top);
    to.x = static_cast<T>(c.x);
    to.y = static_cast<T>(c.y);
    to.dy = static_cast<T>(c.dy);
    if constexpr (sizeof(T) == 8) {
      to.dx = c.dx;
      to.tolerance = T(0);
    } else {
      const double slope = c.dx / c.dy, steep = std::fabs(slope);
      const double size = std::fabs(c.x) + std::fabs(c.dx) + steep * (std::fabs(c.y) + c.dy);
      const bool usual = size < 1e30;  // else every crossing is doubted
      to.dx = usual ? static_cast<T>(slope) : T(0);
      to.tolerance = usual ? static_cast<T>(doubt<T> * size) : static_cast<T>(INFINITY);
    }
    to.turns = c.turned ? T(-1) : T(1);
    return to;
  }
};

template <typename T>
struct alignas(16) QuickCircular {
  T a[2], u[2], r, inverse, cosine, sine;
  T p1[2], p2[2];
  T bottom, top, x, y, dx, dy;  // the chord; of a circle 0, never on a level with a point
  T tolerance, a_tolerance;     // of the chord's products; of a
  T turns, side, turned;        // what a crossing counts, and the part between chord and arc
  T unused;

  COLLOC_HD_MEMBER static QuickCircular of(const CircularPiece& s) {
    QuickCircular to{};
    for (int i = 0; i < 2; ++i) {
      to.a[i] = static_cast<T>(s.a[i]);
      to.u[i] = static_cast<T>(s.u[i]);
      to.p1[i] = static_cast<T>(s.p1[i]);
      to.p2[i] = static_cast<T>(s.p2[i]);
    }
    to.r = static_cast<T>(s.r);
    to.inverse = static_cast<T>(1.0 / s.r);
    to.cosine = static_cast<T>(s.cosine);
    to.sine = static_cast<T>(s.sine);
    to.a_tolerance = static_cast<T>(doubt<T> * (std::fabs(s.a[0]) + std::fabs(s.a[1])));
    to.side = static_cast<T>(s.side);
    to.bottom = to.top = static_cast<T>(INFINITY);
    to.tolerance = T(-1);
    if (s.q1[0] == s.q2[0] && s.q1[1] == s.q2[1]) {
      if (!(s.cosine < 0)) to.side = T(0);
      return to;
    }
    const Chord c = chord_of(s.q1, s.q2);
    to.bottom = rounded_up<T>(c.y);
    to.top = rounded_up<T>(c.top);
    to.x = static_cast<T>(c.x);
    to.y = static_cast<T>(c.y);
    to.dx = static_cast<T>(c.dx);
    to.dy = static_cast<T>(c.dy);
    to.tolerance = static_cast<T>(doubt<T> * (std::fabs(c.dx * c.y) + std::fabs(c.dy * c.x)));
    to.turns = c.turned ? -to.side : to.side;
    to.turned = c.turned ? T(1) : T(0);
    return to;
  }
};

static_assert(sizeof(QuickStraight<float>) == quick_straight_numbers * sizeof(float));
static_assert(sizeof(QuickCircular<double>) == quick_circular_numbers * sizeof(double));

// What is known of a point after some pieces.
template <typename T>
struct QuickDistance {
  T square = static_cast<T>(INFINITY);  // of the distance; pieces that give NaN do not count
  T turns = T(0);
  bool doubtful = false;

  COLLOC_HD_MEMBER void look(const QuickStraight<T>& s, T x, T y) {
    const T dx = x - s.p[0], dy = y - s.p[1];
    const T offset = std::fma(s.e[0], dy, -(s.e[1] * dx));
    const T along = std::fma(s.e[0], dx, s.e[1] * dy);
    const T beyond = along - std::fmin(std::fmax(along, s.low), s.high);
    square = std::fmin(square, std::fma(offset, offset, beyond * beyond));
    const bool level = (y >= s.bottom) & (y < s.top);
    if constexpr (sizeof(T) == 8) {
      const bool left = s.dx * (y - s.y) > s.dy * (x - s.x);
      if (level & left) turns += s.turns;
    } else {
      const T right = std::fma(s.dx, y - s.y, s.x) - x;  // how far the chord is on the right
      if (level & (right > T(0))) turns += s.turns;
      doubtful |= level & (std::fabs(right) <= s.tolerance);
    }
  }

  // |x - c|^2 = r^2 (1 + q), as in signed_distance.h, q = n / r. 1 + q loses digits near the
  // centre.
  COLLOC_HD_MEMBER void look(const QuickCircular<T>& s, T x, T y) {
    const T dx = x - s.a[0], dy = y - s.a[1];
    const T out = s.u[0] * dx + s.u[1] * dy, across = std::fma(s.u[0], dy, -(s.u[1] * dx));
    const T d2 = dx * dx + dy * dy;
    const T n = std::fma(d2, s.inverse, out + out), q = n * s.inverse;
    // (x - c) / r = u + d / r
    const T cx = std::fma(dx, s.inverse, s.u[0]), cy = std::fma(dy, s.inverse, s.u[1]);
    const T rho2 = q < T(-0.5) ? std::fma(cx, cx, cy * cy) : T(1) + q;
    const T held = std::fmax(rho2, number<T>(smallest<T>));
    const T offset = n * quick_reciprocal(std::fma(held, quick_reciprocal_root(held), T(1)));
    const bool first = across < T(0);
    const T gap_x = x - (first ? s.p1[0] : s.p2[0]), gap_y = y - (first ? s.p1[1] : s.p2[1]);
    const bool within = std::fabs(across) * s.cosine <= (s.r + out) * s.sine;
    square = std::fmin(square, within ? offset * offset : std::fma(gap_x, gap_x, gap_y * gap_y));
    const T up = y - s.y, aside = x - s.x;
    const T one = s.dx * up, two = s.dy * aside;
    const bool left = one > two, level = (y >= s.bottom) & (y < s.top);
    bool inner;
    if constexpr (sizeof(T) == 8) {
      inner = (s.r + s.r) * out + d2 < T(0);
    } else {
      inner = n < T(0);
      const T sums = std::fabs(s.u[0] * dx) + std::fabs(s.u[1] * dy);
      const T part = d2 * s.inverse;
      const T n_tolerance =
          std::fma(doubt<T>, sums + part, s.a_tolerance * std::fma(part, s.inverse, T(2)));
      const T tolerance = std::fma(doubt<T>, std::fabs(one) + std::fabs(two), s.tolerance);
      doubtful |= std::fabs(n) <= n_tolerance;
      doubtful |= (level | inner) & (std::fabs(one - two) <= tolerance);
    }
    if (level & left) turns += s.turns;
    if (inner & (left == (s.turned > T(0)))) turns += s.side;
  }
};

}  // namespace colloc::math
