// The work of one thread of op distance: a point, twice over all pieces. The first sweep finds
// the nearest one, the second adds up the others.
#pragma once

#include "common/thread_index.h"
#include "math/distance.h"
#include "math/equivalence.h"

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

template <math::JetOrder O, typename T>
struct DistanceBody {
  using Form = math::JetForm<O, 2>;
  // Hessians lose too much in single precision: from order 2 on the arithmetic is in double.
  using C = typename Arithmetic<Form::hessian, T>::type;
  DistanceArrays<T> p;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t i = thread.global; i < p.points; i += thread.total) run(i);
  }

  COLLOC_HD_MEMBER void run(int64_t point) const {
    const auto x =
        math::point_at<T>(static_cast<C>(p.x[2 * point]), static_cast<C>(p.x[2 * point + 1]));
    const int64_t on = p.on == nullptr ? -1 : p.on[point];
    C nearest = math::largest<C>, second = math::largest<C>, count = C(0);
    int64_t index = 0;
    for (int64_t k = 0; k < p.count; ++k) {
      C value[1];
      jet<math::JetOrder::value>(k, x, on, value);
      const bool nearer = value[0] < nearest;
      const C farther = nearer ? nearest : value[0];
      second = farther < second ? farther : second;
      index = nearer ? k : index;
      nearest = nearer ? value[0] : nearest;
      count += value[0] == C(0) ? C(1) : C(0);
    }
    C near[Form::size], phi[Form::size];
    jet<O>(index, x, on, near);
    if (p.count == 1) return store(near, point);
    C others[Form::size];
    math::unroll<0, Form::size>([&](auto c) COLLOC_INLINE_LAMBDA { others[c] = C(0); });
    const bool joint = second == C(0);
    for (int64_t k = 0; k < p.count; ++k) {
      if (k == index) continue;
      C own[Form::size];
      jet<O>(k, x, on, own);
      if (joint) {
        const C counts = own[0] == C(0) ? C(1) : C(0);
        math::unroll<0, Form::size>(
            [&](auto c) COLLOC_INLINE_LAMBDA { others[c] = others[c] + counts * own[c]; });
      } else {
        math::add_reciprocal_power<O, 2>(own, second, p.m, false, others);
      }
    }
    if (joint) {
      const C share = math::joint_share(count, p.m);
      math::unroll<0, Form::size>(
          [&](auto c) COLLOC_INLINE_LAMBDA { phi[c] = share * (near[c] + others[c]); });
    } else {
      math::equivalence<O, 2>(near, others, second, p.m, phi);
    }
    store(phi, point);
  }

  template <math::JetOrder Wanted>
  COLLOC_HD_MEMBER void jet(int64_t k, const math::Point<C>& x, int64_t on, C* to) const {
    const math::Piece& piece = p.pieces[k];
    math::with_form(piece, [&](auto form) COLLOC_INLINE_LAMBDA {
      using PieceForm = decltype(form);
      const auto at = math::offsets<PieceForm>(piece, x.x, x.y);
      const auto place = math::place<PieceForm, T>(piece, at, x.noise, on == k);
      math::piece_jet<Wanted, PieceForm>(piece, place, static_cast<C>(p.curving), to);
    });
  }

  COLLOC_HD_MEMBER void store(const C* jet, int64_t point) const {
    math::unroll<0, Form::size>(
        [&](auto c) COLLOC_INLINE_LAMBDA { p.out[c * p.points + point] = static_cast<T>(jet[c]); });
  }

  Grid grid() const { return grid_for(p.points, 132 * 32, 128); }
};

// Calls run(DistanceBody) for a run-time order.
template <typename T, typename Run>
void with_distance_body(math::JetOrder order, const DistanceArrays<T>& p, const Run& run) {
  using math::JetOrder;
  switch (order) {
    case JetOrder::value:
      return run(DistanceBody<JetOrder::value, T>{p});
    case JetOrder::first:
      return run(DistanceBody<JetOrder::first, T>{p});
    case JetOrder::laplacian:
      return run(DistanceBody<JetOrder::laplacian, T>{p});
    case JetOrder::second:
      return run(DistanceBody<JetOrder::second, T>{p});
    case JetOrder::grad_laplacian:
      return run(DistanceBody<JetOrder::grad_laplacian, T>{p});
    case JetOrder::third:
      return run(DistanceBody<JetOrder::third, T>{p});
  }
}

}  // namespace colloc
