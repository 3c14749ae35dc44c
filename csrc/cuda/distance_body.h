// The second launch of op distance, the work of one thread: a few points at once over all pieces,
// away from these in one sweep (math/distance_running.h), else by the formula that holds
// everywhere. The first launch makes the table of pieces (distance_table_body.h).
#pragma once

#include "common/thread_index.h"
#include "cuda/distance_exact.h"
#include "cuda/distance_table_body.h"

namespace colloc {

template <typename T>
struct DistanceArrays {
  int64_t points, count;
  const T* x;  // (points, 2)
  const math::Piece* pieces;
  const int64_t* on;  // (points) or null
  int m;
  T curving;  // k = 1 / length^2
  T* out;     // (size, points)
};

template <bool Precise, typename T>
struct Arithmetic {
  using type = T;
};
template <typename T>
struct Arithmetic<true, T> {
  using type = double;
};

// Hessians lose too much in single precision: from order 2 on the arithmetic is in double.
template <math::JetOrder O, typename T>
using DistanceArithmetic = typename Arithmetic<math::JetForm<O, 2>::hessian, T>::type;

// m: the order of the R-equivalence where the sweep takes it (1 or 2), 0 for the formula that holds
// everywhere alone.
template <math::JetOrder O, int m, typename T>
struct DistanceBody {
  using Form = math::JetForm<O, 2>;
  using C = DistanceArithmetic<O, T>;
  // The numbers of a piece, once loaded, serve so many points.
  static constexpr int together = m == 0 || sizeof(C) == 8 ? 1 : 2;
  DistanceArrays<T> p;
  DistanceTable<C> table;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t first = thread.global; first < p.points; first += together * thread.total) {
      run(first, thread.total);
    }
  }

  // The points first, first + step, ...
  COLLOC_HD_MEMBER void run(int64_t first, int64_t step) const {
    C x[together], y[together], phi[together][Form::size] = {};
    int64_t on[together];
    bool done[together];
    math::unroll<0, together>([&](auto g) COLLOC_INLINE_LAMBDA {
      const int64_t wanted = first + g * step, point = wanted < p.points ? wanted : first;
      x[g] = static_cast<C>(p.x[2 * point]);
      y[g] = static_cast<C>(p.x[2 * point + 1]);
      on[g] = p.on == nullptr ? -1 : p.on[point];
      done[g] = false;
    });
    if constexpr (m > 0) {
      if (table.header()->serves) sweep(x, y, phi, done);
    }
    const ExactDistance<O, T, C> exact{table.pieces(), table.count, p.m, static_cast<C>(p.curving)};
    math::unroll<0, together>([&](auto g) COLLOC_INLINE_LAMBDA {
      const int64_t point = first + g * step;
      if (point >= p.points) return;
      if constexpr (m == 0) {
        exact.run(x[g], y[g], on[g], phi[g]);
      } else {
        if (!done[g] || on[g] >= 0) {
          C found[Form::size];  // `phi` stays in registers
          ExactDistance<O, T, C>::apart(exact, x[g], y[g], on[g], found);
          math::unroll<0, Form::size>([&](auto c) COLLOC_INLINE_LAMBDA { phi[g][c] = found[c]; });
        }
      }
      math::unroll<0, Form::size>([&](auto c) COLLOC_INLINE_LAMBDA {
        p.out[c * p.points + point] = static_cast<T>(phi[g][c]);
      });
    });
  }

  COLLOC_HD_MEMBER void sweep(const C* px, const C* py, C (*phi)[Form::size], bool* done) const {
    const math::RunningHeader<C> all = *table.header();
    C x[together], y[together];
    math::RunningSum<O, m, C> sums[together];
    math::unroll<0, together>([&](auto g) COLLOC_INLINE_LAMBDA {
      x[g] = px[g] * all.scale;
      y[g] = py[g] * all.scale;
    });
    for (int k = 0; k < all.straight; ++k) {
      const auto piece = *reinterpret_cast<const math::RunningSegment<C>*>(table.running(k));
      math::unroll<0, together>([&](auto g) COLLOC_INLINE_LAMBDA {
        math::add_segment(piece, x[g], y[g], all.curving, sums[g]);
      });
    }
    const auto curve = [&](auto ends, int k) COLLOC_INLINE_LAMBDA {
      const auto piece = *reinterpret_cast<const math::RunningCurve<C>*>(table.running(k));
      math::unroll<0, together>([&](auto g) COLLOC_INLINE_LAMBDA {
        math::add_curve<decltype(ends)::ends>(piece, x[g], y[g], all.curving, sums[g]);
      });
    };
    for (int k = all.straight; k < all.arcs; ++k) curve(math::PieceForm<true, true>{}, k);
    for (int k = all.arcs; k < all.count; ++k) curve(math::PieceForm<true, false>{}, k);
    const C reach = C(math::RunningLimits<T, C>::reach);
    math::unroll<0, together>([&](auto g) COLLOC_INLINE_LAMBDA {
      const C value = sums[g].finish(all.unit, all.scale, phi[g]);
      // phi is not above the smallest phi_i. Not a number: at a piece's end.
      done[g] = value > all.least && math::absolute(x[g] - all.centre[0]) <= reach &&
                math::absolute(y[g] - all.centre[1]) <= reach;
    });
  }

  Grid grid() const { return grid_for((p.points + together - 1) / together, 132 * 32, 128); }
};

// Bytes that the two launches need between them.
inline int64_t distance_memory(int64_t count) {
  return DistanceTable<double>::size(count) * static_cast<int64_t>(sizeof(double));
}

// Hands `run` the two bodies; `curving`: 1 / length^2, `memory`: 16-byte aligned.
template <math::JetOrder O, typename T, typename Run>
void distance_bodies_of(const DistanceArrays<T>& p, double curving, void* memory, const Run& run) {
  using C = DistanceArithmetic<O, T>;
  const DistanceTable<C> table{static_cast<C*>(memory), p.count};
  run(DistanceTableBody<T, C>{p.pieces, curving, table});
  if constexpr (math::JetForm<O, 2>::degree <= 2) {
    if (p.count > 1 && p.m == 1) return run(DistanceBody<O, 1, T>{p, table});
    if (p.count > 1 && p.m == 2) return run(DistanceBody<O, 2, T>{p, table});
  }
  run(DistanceBody<O, 0, T>{p, table});
}

// The same for a run-time order.
template <typename T, typename Run>
void distance_bodies(math::JetOrder order, const DistanceArrays<T>& p, double curving, void* memory,
                     const Run& run) {
  using math::JetOrder;
  switch (order) {
    case JetOrder::value:
      return distance_bodies_of<JetOrder::value>(p, curving, memory, run);
    case JetOrder::first:
      return distance_bodies_of<JetOrder::first>(p, curving, memory, run);
    case JetOrder::laplacian:
      return distance_bodies_of<JetOrder::laplacian>(p, curving, memory, run);
    case JetOrder::second:
      return distance_bodies_of<JetOrder::second>(p, curving, memory, run);
    case JetOrder::grad_laplacian:
      return distance_bodies_of<JetOrder::grad_laplacian>(p, curving, memory, run);
    case JetOrder::third:
      return distance_bodies_of<JetOrder::third>(p, curving, memory, run);
  }
}

}  // namespace colloc
