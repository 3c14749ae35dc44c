// One point of op distance by the formula that holds everywhere, twice over all pieces: the first
// sweep finds the nearest one, the second adds up the others.
#pragma once

#include "common/apart.h"
#include "math/distance.h"
#include "math/equivalence.h"

namespace colloc {

// C: type of the arithmetic, S: dtype of the points.
template <math::JetOrder O, typename S, typename C>
struct ExactDistance {
  using Form = math::JetForm<O, 2>;
  const math::PieceAs<C>* pieces;
  int64_t count;
  int m;
  C curving;

  COLLOC_APART static void apart(const ExactDistance& work, C x, C y, int64_t on, C* phi) {
    work.run(x, y, on, phi);
  }

  COLLOC_HD_MEMBER void run(C px, C py, int64_t on, C* phi) const {
    const auto x = math::point_at<S>(px, py);
    C nearest = math::largest<C>, second = math::largest<C>, zeros = C(0);
    int64_t index = 0;
    for (int64_t k = 0; k < count; ++k) {
      C value[1];
      jet<math::JetOrder::value>(k, x, on, value);
      const bool nearer = value[0] < nearest;
      const C farther = nearer ? nearest : value[0];
      second = farther < second ? farther : second;
      index = nearer ? k : index;
      nearest = nearer ? value[0] : nearest;
      zeros += value[0] == C(0) ? C(1) : C(0);
    }
    if (count == 1) return jet<O>(index, x, on, phi);
    C near[Form::size], others[Form::size];
    jet<O>(index, x, on, near);
    math::unroll<0, Form::size>([&](auto c) COLLOC_INLINE_LAMBDA { others[c] = C(0); });
    const bool joint = second == C(0);
    for (int64_t k = 0; k < count; ++k) {
      if (k == index) continue;
      C own[Form::size];
      jet<O>(k, x, on, own);
      if (joint) {
        const C counts = own[0] == C(0) ? C(1) : C(0);
        math::unroll<0, Form::size>(
            [&](auto c) COLLOC_INLINE_LAMBDA { others[c] = others[c] + counts * own[c]; });
      } else {
        math::add_reciprocal_power<O, 2>(own, second, m, false, others);
      }
    }
    if (joint) {
      const C share = math::joint_share(zeros, m);
      math::unroll<0, Form::size>(
          [&](auto c) COLLOC_INLINE_LAMBDA { phi[c] = share * (near[c] + others[c]); });
    } else {
      math::equivalence<O, 2>(near, others, second, m, phi);
    }
  }

  template <math::JetOrder Wanted>
  COLLOC_HD_MEMBER void jet(int64_t k, const math::Point<C>& x, int64_t on, C* to) const {
    const math::PieceAs<C> piece = pieces[k];
    math::with_form(piece, [&](auto form) COLLOC_INLINE_LAMBDA {
      using PieceForm = decltype(form);
      const auto at = math::offsets<PieceForm>(piece, x.x, x.y);
      const auto place = math::place<PieceForm, S>(piece, at, x.noise, on == k);
      math::piece_jet<Wanted, PieceForm>(piece, place, curving, to);
    });
  }
};

}  // namespace colloc
