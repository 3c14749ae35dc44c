// The first launch of op distance: the table of pieces in the arithmetic's type and in the orders
// that the second one reads. Every thread looks over all pieces for their extent, which costs it
// less than a point costs there, and writes one of them.
#pragma once

#include "common/thread_index.h"
#include "math/distance_running.h"

namespace colloc {

// Where things are in the memory between the two launches, of `size` numbers of type C.
template <typename C>
struct DistanceTable {
  static constexpr int64_t head = 16, exact = sizeof(math::PieceAs<C>) / sizeof(C);
  static_assert(sizeof(math::RunningHeader<C>) <= head * sizeof(C));
  C* memory;
  int64_t count;

  static int64_t size(int64_t count) { return head + count * (exact + math::running_numbers); }
  COLLOC_HD_MEMBER auto* header() const {
    return reinterpret_cast<math::RunningHeader<C>*>(memory);
  }
  COLLOC_HD_MEMBER auto* pieces() const {
    return reinterpret_cast<math::PieceAs<C>*>(memory + head);
  }
  // Sorted, for the sweep away from pieces.
  COLLOC_HD_MEMBER C* running(int64_t k) const {
    return memory + head + count * exact + k * math::running_numbers;
  }
};

// What the pieces take up.
struct Extent {
  double low[2] = {1e300, 1e300}, high[2] = {-1e300, -1e300};
  double shortest = 1e300, bend = 0.0;  // the largest |f2| of an arc

  COLLOC_HD_MEMBER void take(const math::Piece& p) {
    // An arc is within its extent (the radius at least) of its ends, a circle of its centre.
    const double round = p.f2 != 0 || p.trimmed == 0 ? p.extent : 0.0;
    for (int i = 0; i < 2; ++i) {
      const double first = least(p.a[i], p.b[i]) - round, last = most(p.a[i], p.b[i]) + round;
      low[i] = least(low[i], first);
      high[i] = most(high[i], last);
    }
    shortest = least(shortest, p.extent);
    if (p.trimmed != 0) bend = most(bend, std::fabs(p.f2));
  }

  // In two instructions of a GPU, those of NaN apart.
  COLLOC_HD_MEMBER static double least(double a, double b) { return a < b ? a : b; }
  COLLOC_HD_MEMBER static double most(double a, double b) { return a > b ? a : b; }
};

// S: dtype of the points, C: that of the arithmetic.
template <typename S, typename C>
struct DistanceTableBody {
  const math::Piece* pieces;
  double curving;
  DistanceTable<C> table;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t k = thread.global; k < table.count; k += thread.total) run(k);
  }

  // 0: a segment, 1: an arc, 2: a circle, 3: a line.
  static COLLOC_HD_MEMBER int kind(const math::Piece& p) {
    return p.trimmed != 0 ? (p.f2 != 0 ? 1 : 0) : (p.f2 != 0 ? 2 : 3);
  }

  COLLOC_HD_MEMBER void run(int64_t own) const {
    using Limits = math::RunningLimits<S, C>;
    const math::Piece mine = pieces[own];
    Extent all;
    // Its own first, so that the threads of a warp read all pieces into the cache at once.
    all.take(mine);
    int sizes[4] = {0, 0, 0, 0};
    int place = 0;  // among those of its kind
    const int own_kind = kind(mine);
    for (int64_t j = 0; j < table.count; ++j) {
      const math::Piece& p = pieces[j];
      all.take(p);
      const int of = kind(p);
      place += j < own && of == own_kind ? 1 : 0;
      math::unroll<0, 4>([&](auto i) COLLOC_INLINE_LAMBDA { sizes[i] += of == i ? 1 : 0; });
    }
    const double *low = all.low, *high = all.high;
    const double width = Extent::most(high[0] - low[0], high[1] - low[1]);
    // The largest power of two in it.
    const bool usual = width > 1e-30 && width < 1e30;
    const double unit =
        usual ? math::bits_as<double>(math::bits_as<uint64_t>(width) & 0x7ff0000000000000ull) : 1.0;
    table.pieces()[own] = math::PieceAs<C>::of(mine);
    const int first = own_kind == 0 ? 0 : own_kind == 1 ? sizes[0] : sizes[0] + sizes[1];
    if (own_kind == 0) {
      *reinterpret_cast<math::RunningSegment<C>*>(table.running(place)) =
          math::running_segment<C>(mine, unit);
    } else if (own_kind != 3) {
      *reinterpret_cast<math::RunningCurve<C>*>(table.running(first + place)) =
          math::running_curve<C>(mine, unit);
    }
    if (own != 0) return;
    const double k = curving * unit * unit;
    double farthest = 0.0;
    for (int i = 0; i < 2; ++i) {
      farthest = Extent::most(farthest, Extent::most(std::fabs(low[i]), std::fabs(high[i])));
    }
    const double rounded = 64 * static_cast<double>(math::rounding<S>) * (farthest / unit);
    // An arc's |f| at the farthest point.
    const double away = 1.6 * Limits::reach, most = (all.bend * unit * away + 1.0) * away;
    math::RunningHeader<C> header{};
    header.scale = static_cast<C>(1.0 / unit);
    header.unit = static_cast<C>(unit);
    header.centre[0] = static_cast<C>(0.5 * (low[0] + high[0]) / unit);
    header.centre[1] = static_cast<C>(0.5 * (low[1] + high[1]) / unit);
    header.curving = static_cast<C>(k);
    header.least = static_cast<C>(Extent::most(Limits::least, rounded));
    // Lines without ends have no extent.
    header.serves = usual && table.count > 1 && sizes[3] == 0 && rounded <= Limits::most &&
                    all.shortest >= Limits::shortest * unit && k < Limits::curving &&
                    k > 1 / Limits::curving &&
                    Extent::most(k, 1.0) * most * most * most * most < Limits::steepest;
    header.straight = sizes[0];
    header.arcs = sizes[0] + sizes[1];
    header.count = header.arcs + sizes[2];
    *table.header() = header;
  }

  Grid grid() const { return grid_for(table.count, 132 * 32, 128); }
};

}  // namespace colloc
