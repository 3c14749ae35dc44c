// Ops signed_distance and signed_distance_slope. The slope is the work of one launch, that of a
// thread a point. The distance takes two: the first makes rows of numbers of the pieces, in the
// second a thread sweeps over them with a few points at once, and once more, as the CPU does, for
// points on pieces and where a side is in doubt (math/signed_distance_quick.h).
#pragma once

#include "common/thread_index.h"
#include "cuda/signed_distance_exact.h"
#include "math/signed_distance_quick.h"
#include "math/unroll.h"

namespace colloc {

template <typename T>
struct SignedDistanceSlopeBody {
  SignedDistanceArrays<T> p;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t i = thread.global; i < p.points; i += thread.total) run(i);
  }

  COLLOC_HD_MEMBER void run(int64_t point) const {
    const T x = p.x[2 * point], y = p.x[2 * point + 1];
    const auto at = ExactSignedDistance<T>::of(p, x, y);
    const auto found =
        at.nearest < p.straight_count
            ? math::slope(p.straight[at.nearest], x, y, p.size, at.inside)
            : math::slope(p.circular[at.nearest - p.straight_count], x, y, p.size, at.inside);
    p.out[2 * point] = found.x;
    p.out[2 * point + 1] = found.y;
  }

  Grid grid() const { return grid_for(p.points, 132 * 32, 128); }
};

// The rows in the memory between the two launches.
template <typename T>
struct SignedDistanceTable {
  T* memory;
  int64_t straight_count;

  static int64_t size(int64_t straight, int64_t circular) {
    return straight * math::quick_straight_numbers + circular * math::quick_circular_numbers;
  }
  COLLOC_HD_MEMBER auto* straight() const {
    return reinterpret_cast<math::QuickStraight<T>*>(memory);
  }
  COLLOC_HD_MEMBER auto* circular() const {
    return reinterpret_cast<math::QuickCircular<T>*>(memory +
                                                     straight_count * math::quick_straight_numbers);
  }
};

template <typename T>
struct SignedDistanceTableBody {
  SignedDistanceArrays<T> p;
  SignedDistanceTable<T> table;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t k = thread.global; k < p.straight_count; k += thread.total) {
      table.straight()[k] = math::QuickStraight<T>::of(p.straight[k]);
    }
    for (int64_t k = thread.global; k < p.circular_count; k += thread.total) {
      table.circular()[k] = math::QuickCircular<T>::of(p.circular[k]);
    }
  }

  Grid grid() const {
    return grid_for(p.straight_count > p.circular_count ? p.straight_count : p.circular_count, 132,
                    128);
  }
};

template <typename T>
struct SignedDistanceBody {
  static constexpr int together = 2;  // a row, once loaded, serves so many points
  SignedDistanceArrays<T> p;
  SignedDistanceTable<T> table;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t first = thread.global; first < p.points; first += together * thread.total) {
      run(first, thread.total);
    }
  }

  // The points first, first + step, ...
  COLLOC_HD_MEMBER void run(int64_t first, int64_t step) const {
    T x[together], y[together];
    math::QuickDistance<T> found[together];
    math::unroll<0, together>([&](auto g) COLLOC_INLINE_LAMBDA {
      const int64_t wanted = first + g * step, point = wanted < p.points ? wanted : first;
      x[g] = p.x[2 * point];
      y[g] = p.x[2 * point + 1];
    });
    const int straight = static_cast<int>(p.straight_count);
    const int circular = static_cast<int>(p.circular_count);
    for (int k = 0; k < straight; ++k) {
      const auto row = table.straight()[k];
      math::unroll<0, together>([&](auto g)
                                    COLLOC_INLINE_LAMBDA { found[g].look(row, x[g], y[g]); });
    }
    for (int k = 0; k < circular; ++k) {
      const auto row = table.circular()[k];
      math::unroll<0, together>([&](auto g)
                                    COLLOC_INLINE_LAMBDA { found[g].look(row, x[g], y[g]); });
    }
    math::unroll<0, together>([&](auto g) COLLOC_INLINE_LAMBDA {
      const int64_t point = first + g * step;
      if (point >= p.points) return;
      const T distance = math::square_root(found[g].square);
      // Nearer than rounding an offset has the sign, not the turns.
      const bool clear = distance > T(8) * math::on_piece(x[g], y[g], p.size) &&
                         found[g].square < math::largest<T>;
      if (clear && !found[g].doubtful) {
        p.out[point] = found[g].turns > T(0.5) ? distance : -distance;
      } else {
        p.out[point] = ExactSignedDistance<T>::signed_one(p, x[g], y[g]);
      }
    });
  }

  Grid grid() const { return grid_for((p.points + together - 1) / together, 132 * 32, 128); }
};

// Bytes that the two launches need between them.
inline int64_t signed_distance_memory(int64_t straight, int64_t circular) {
  return SignedDistanceTable<double>::size(straight, circular) *
         static_cast<int64_t>(sizeof(double));
}

// Hands `run` the bodies; `memory`, for the distance alone: 16-byte aligned.
template <bool Slope, typename T, typename Run>
void signed_distance_bodies(const SignedDistanceArrays<T>& p, void* memory, const Run& run) {
  if constexpr (Slope) {
    run(SignedDistanceSlopeBody<T>{p});
  } else {
    const SignedDistanceTable<T> table{static_cast<T*>(memory), p.straight_count};
    run(SignedDistanceTableBody<T>{p, table});
    run(SignedDistanceBody<T>{p, table});
  }
}

}  // namespace colloc
