// The work of one thread of ops signed_distance and signed_distance_slope: a point, first over all
// pieces for the nearest one, then once more for the turns around it.
#pragma once

#include "common/thread_index.h"
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

template <bool Slope, typename T>
struct SignedDistanceBody {
  SignedDistanceArrays<T> p;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t i = thread.global; i < p.points; i += thread.total) run(i);
  }

  COLLOC_HD_MEMBER void run(int64_t point) const {
    const T x = p.x[2 * point], y = p.x[2 * point + 1];
    T distance = static_cast<T>(INFINITY);
    T offset = static_cast<T>(NAN);
    int64_t nearest = 0;
    const auto look = [&](const auto& piece, int64_t number) {
      const auto at = math::foot(piece, x, y);
      if (at.distance >= distance) return;  // not so for NaN
      distance = at.distance;
      offset = at.within ? at.offset : static_cast<T>(NAN);
      nearest = number;
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
    const bool inside = turns > 0.5;
    if constexpr (Slope) {
      const auto found =
          nearest < p.straight_count
              ? math::slope(p.straight[nearest], x, y, p.size, inside)
              : math::slope(p.circular[nearest - p.straight_count], x, y, p.size, inside);
      p.out[2 * point] = found.x;
      p.out[2 * point + 1] = found.y;
    } else {
      const bool close = math::absolute(offset) <= math::on_piece(x, y, p.size);
      p.out[point] = close ? offset : inside ? distance : -distance;
    }
  }

  Grid grid() const { return grid_for(p.points, 132 * 32, 128); }
};

}  // namespace colloc
