// Op distance away from the pieces: all pieces at a few points at once, sums in registers.
#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/pack.h"
#include "math/distance_far.h"

namespace colloc::COLLOC_CAPABILITY {
namespace {

using math::JetForm;
using math::JetOrder;
using math::Piece;

// Where the plain formula serves, in units of the pieces' extent: at points at most `reach` from
// their centre and, in phi, not nearer than `least` to any piece, if no piece is smaller than
// `shortest`, the origin is within `shift`, so that rounding of the coordinates, of dtype S, stays
// below least / 4, and neither k nor the slopes of an arc leave what the powers of a T can take.
template <typename S, typename T>
struct FarLimits {
  static constexpr double least = sizeof(S) == 4 ? 1e-2 : 1e-5;
  static constexpr double reach = sizeof(T) == 4 ? 4 : 1e3;
  static constexpr double shortest = sizeof(T) == 4 ? 1e-3 : 1e-6;
  static constexpr double shift = least / (64 * static_cast<double>(math::rounding<S>));
  static constexpr double curving = 1e8;
  static constexpr double slope = sizeof(T) == 4 ? 1e17 : 1e140;  // of phi^2, whose square is taken
};

static_assert(sizeof(math::FarPiece<double>) == 18 * sizeof(double));

// The pieces as the plain formula takes them, straight ones with ends first.
template <typename T>
struct FarPieces {
  math::FarPiece<T>* pieces;
  int64_t count, straight, arcs;  // then those without ends
  double unit, centre[2];
  T curving;
};

// Takes the pieces into `memory`; false if the plain formula is not to be used at all.
template <typename S, typename T>
bool far_pieces(const Piece* pieces, int64_t count, double curving, math::FarPiece<T>* memory,
                FarPieces<T>& found) {
  using Limits = FarLimits<S, T>;
  double low[2] = {1e300, 1e300}, high[2] = {-1e300, -1e300}, shortest = 1e300, bend = 0.0;
  for (int64_t k = 0; k < count; ++k) {
    const Piece& p = pieces[k];
    // An arc is within its extent (the radius at least) of its ends, a circle of its centre.
    const double round = p.f2 != 0 || p.trimmed == 0 ? p.extent : 0.0;
    for (int i = 0; i < 2; ++i) {
      const double ends[2] = {p.a[i], p.b[i]};
      for (const double end : ends) {
        low[i] = end - round < low[i] ? end - round : low[i];
        high[i] = end + round > high[i] ? end + round : high[i];
      }
    }
    shortest = p.extent < shortest ? p.extent : shortest;
    if (p.trimmed != 0) bend = std::abs(p.f2) > bend ? std::abs(p.f2) : bend;
  }
  const double width = high[0] - low[0], height = high[1] - low[1];
  int exponent = 0;
  std::frexp(width > height ? width : height, &exponent);
  found.unit = std::ldexp(1.0, exponent - 1);
  const double k = curving * found.unit * found.unit;
  // An arc's |f| and |grad f| at the farthest point, and half the slope of k f^4.
  const double away = 1.6 * Limits::reach, curved = bend * found.unit;
  const double most = (curved * away + 1.0) * away, steep = 2.0 * curved * away + 1.0;
  const double slope = 2.0 * (k > 1.0 ? k : 1.0) * most * most * most * steep;
  double farthest = 0;
  for (int i = 0; i < 2; ++i) {
    found.centre[i] = 0.5 * (low[i] + high[i]);
    const double size = std::abs(low[i]) > std::abs(high[i]) ? std::abs(low[i]) : std::abs(high[i]);
    farthest = size > farthest ? size : farthest;
  }
  if (!(exponent > -100 && exponent < 100 && shortest >= Limits::shortest * found.unit &&
        farthest <= Limits::shift * found.unit && k < Limits::curving && k > 1 / Limits::curving &&
        slope < Limits::slope)) {
    return false;
  }
  found.curving = static_cast<T>(k);
  found.pieces = memory;
  found.count = 0;
  const auto take = [&](bool ends, bool curved) {
    const Piece* before = nullptr;
    for (int64_t i = 0; i < count; ++i) {
      const Piece& p = pieces[i];
      if ((p.trimmed != 0) != ends || (p.f2 != 0) != curved) continue;
      math::FarPiece<T> far = math::FarPiece<T>::of(p, found.unit);
      far.joined = before != nullptr && before->b[0] == p.a[0] && before->b[1] == p.a[1] &&
                   before->b_low[0] == p.a_low[0] && before->b_low[1] == p.a_low[1];
      memory[found.count++] = far;
      before = &p;
    }
    return found.count;
  };
  found.straight = take(true, false);
  found.arcs = take(true, true);
  take(false, true);
  const int64_t round = found.count;
  take(false, false);
  return found.count == round;  // no lines without ends: they have no extent
}

// Points and pieces are taken a few at a time, in loops one after another: in a single one the
// chain from a point to its sums would be so long that a processor could not overlap two pieces.
constexpr int64_t few_pieces = 8, few_packs = 4;

template <typename T>
struct FewPoints {
  Pack<T> x[few_packs], y[few_packs];
  Pack<T> ex[few_packs], ey[few_packs];  // minus the end of the last piece
};

// The jets of far_square of `count` pieces of one form at every pack.
template <JetOrder O, typename Form, typename T>
COLLOC_PACK void far_squares(const math::FarPiece<T>* pieces, int64_t count, FewPoints<T>& points,
                             Pack<T> k, Pack<T>* jets) {
  constexpr bool segment = Form::ends && !Form::curved;
  math::FarPlace<Pack<T>> places[few_packs * few_pieces];
  math::FarTrim<Pack<T>> trims[few_packs * few_pieces];
  for (int64_t g = 0; g < few_packs; ++g) {
    const Pack<T> x = points.x[g], y = points.y[g];
    Pack<T> ex = points.ex[g], ey = points.ey[g];
    for (int64_t j = 0; j < count; ++j) {
      const math::FarPiece<T>& p = pieces[j];
      Pack<T> dx = ex, dy = ey;
      if (!segment || p.joined == T(0)) {
        dx = math::offset(x, p.a[0], p.a_low[0]);
        dy = math::offset(y, p.a[1], p.a_low[1]);
      }
      if constexpr (Form::ends) {
        ex = math::offset(x, p.b[0], p.b_low[0]);
        ey = math::offset(y, p.b[1], p.b_low[1]);
      }
      places[g * count + j] = math::far_place<Form>(p, dx, dy, ex, ey);
    }
    points.ex[g] = ex;
    points.ey[g] = ey;
  }
  if constexpr (Form::ends) {
    for (int64_t l = 0; l < few_packs * count; ++l) {
      trims[l] = math::far_trim(places[l].f, places[l].t, k);
    }
  }
  for (int64_t g = 0; g < few_packs; ++g) {
    for (int64_t j = 0; j < count; ++j) {
      const int64_t l = g * count + j;
      math::far_square<O, Form>(pieces[j], places[l], trims[l], k, jets + l * JetForm<O, 2>::size);
    }
  }
}

// The jets at a block, and how near each point is: P of the nearest piece, 0 where the plain
// formula does not serve.
template <JetOrder O, int m, typename S, typename T>
void far_block(const FarPieces<T>& far, const T* xs, const T* ys, T* jets, T* near) {
  constexpr int size = JetForm<O, 2>::size;
  using Lanes = Pack<T>;
  const Lanes scale = static_cast<T>(1 / far.unit), k = far.curving;
  const Lanes cx = static_cast<T>(far.centre[0] / far.unit);
  const Lanes cy = static_cast<T>(far.centre[1] / far.unit);
  const Lanes reach = T(FarLimits<S, T>::reach), zero = T(0), largest = math::largest<T>;
  static_assert(distance_block % (few_packs * Lanes::lanes) == 0);
  for (int64_t first = 0; first < distance_block; first += few_packs * Lanes::lanes) {
    FewPoints<T> points;
    Lanes sums[few_packs * size], least[few_packs], squares[few_packs * few_pieces * size];
    for (int64_t g = 0; g < few_packs; ++g) {
      points.x[g] = load(xs + first + g * Lanes::lanes) * scale;
      points.y[g] = load(ys + first + g * Lanes::lanes) * scale;
      least[g] = largest;
      math::unroll<0, size>([&](auto c) COLLOC_INLINE_LAMBDA { sums[g * size + c] = zero; });
    }
    const auto take = [&](auto form, int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; j += few_pieces) {
        const int64_t count = end - j < few_pieces ? end - j : few_pieces;
        far_squares<O, decltype(form)>(far.pieces + j, count, points, k, squares);
        for (int64_t g = 0; g < few_packs; ++g) {
          Lanes sum[size], nearest = least[g];
          math::unroll<0, size>([&](auto c) COLLOC_INLINE_LAMBDA { sum[c] = sums[g * size + c]; });
          for (int64_t l = g * count; l < (g + 1) * count; ++l) {
            nearest = math::smaller(squares[l * size], nearest);
            math::add_far_power<O, m>(squares + l * size, sum);
          }
          math::unroll<0, size>([&](auto c) COLLOC_INLINE_LAMBDA { sums[g * size + c] = sum[c]; });
          least[g] = nearest;
        }
      }
    };
    take(math::PieceForm<false, true>{}, 0, far.straight);
    take(math::PieceForm<true, true>{}, far.straight, far.arcs);
    take(math::PieceForm<true, false>{}, far.arcs, far.count);
    for (int64_t g = 0; g < few_packs; ++g) {
      const int64_t i = first + g * Lanes::lanes;
      Lanes phi[size];
      math::far_distance<O, m>(sums + g * size, Lanes(static_cast<T>(far.unit)), phi);
      math::unroll<0, size>(
          [&](auto c) COLLOC_INLINE_LAMBDA { store(jets + c * distance_block + i, phi[c]); });
      // A sum that is not a number comes from a piece's end.
      const auto within = (absolute(points.x[g] - cx) <= reach) &
                          (absolute(points.y[g] - cy) <= reach) & (sums[g * size] <= largest);
      store(near + i, select(within, least[g], zero));
    }
  }
}

}  // namespace
}  // namespace colloc::COLLOC_CAPABILITY
