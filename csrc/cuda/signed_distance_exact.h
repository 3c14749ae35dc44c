// One point of ops signed_distance and signed_distance_slope as the CPU has it: over all pieces
// for the nearest one and the turns around the point.
#pragma once

#include "common/apart.h"
#include "math/signed_distance.h"

namespace colloc {

template <typename T>
struct SignedDistanceArrays {
  int64_t points, straight_count, circular_count;
  const T* x;  // (points, 2)
  const math::StraightPiece* straight;
  const math::CircularPiece* circular;
  T size;  // of all pieces, which rounding is measured by
  T* out;  // (points), or the slope (points, 2)
};

template <typename T>
struct ExactSignedDistance {
  T distance, offset;  // NaN: not within the nearest piece
  int64_t nearest;
  bool inside;

  COLLOC_HD_MEMBER static ExactSignedDistance of(const SignedDistanceArrays<T>& p, T x, T y) {
    ExactSignedDistance to{static_cast<T>(INFINITY), static_cast<T>(NAN), 0, false};
    const auto look = [&](const auto& piece, int64_t number) {
      const auto at = math::foot(piece, x, y);
      if (at.distance >= to.distance) return;  // not so for NaN
      to.distance = at.distance;
      to.offset = at.within ? at.offset : static_cast<T>(NAN);
      to.nearest = number;
    };
    double turns = 0;
    for (int64_t k = 0; k < p.straight_count; ++k) {
      look(p.straight[k], k);
      turns += math::turns(p.straight[k], static_cast<double>(x), static_cast<double>(y));
    }
    for (int64_t k = 0; k < p.circular_count; ++k) {
      look(p.circular[k], p.straight_count + k);
      turns += math::turns(p.circular[k], static_cast<double>(x), static_cast<double>(y));
    }
    to.inside = turns > 0.5;
    return to;
  }

  COLLOC_APART static T signed_one(const SignedDistanceArrays<T>& p, T x, T y) {
    const auto found = of(p, x, y);
    const bool close = math::absolute(found.offset) <= math::on_piece(x, y, p.size);
    return close ? found.offset : found.inside ? found.distance : -found.distance;
  }
};

}  // namespace colloc
