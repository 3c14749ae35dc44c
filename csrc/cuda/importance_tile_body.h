// Many draws of op importance_sample: a block takes neighbouring ones, whose items lie together,
// and searches in shared memory. It finds what DrawBody finds, by the same sums.
#pragma once

#include <limits>

#include "common/apart.h"
#include "cuda/importance_draw_body.h"

namespace colloc {

// A run of leaves of a tree in which all values count, with the way to them from above.
struct TileShared {
  static constexpr int leaves = 96, starts = 128;
  static constexpr int row = fan + 2;             // pairs of threads' rows lie in other banks
  static constexpr int nodes = leaves / fan + 1;  // of level 1 that so many leaves can lie in

  // Running sums without a node and with it, of those in the same node.
  struct alignas(16) Bounds {
    double low, high;
  };

  double sums[leaves * row];  // running sums in each leaf; the last value's to the leaf's end
  Bounds leaf[leaves];
  Bounds level[SumTree::most_levels][nodes];
  double start[starts];  // about where in the pool the leaf begins; NaN behind the last one
  int64_t first, last;   // leaves
  math::WeightFormula formula;
};

template <typename T>
struct TileBody {
  static constexpr int threads = 256, least_blocks = 4;
  static constexpr int most_rounds = 8, together = 2;
  static constexpr int warps = threads / warp_size;

  DrawPlaces places;
  const math::PoolTotals* totals;
  DeviceShares shares;
  int rounds;  // of `threads` draws
  int64_t* index;
  T* weight;

  // So many that their items mostly fill two thirds of the leaves.
  static int rounds_for(int64_t n, int64_t items) {
    const double wanted =
        static_cast<double>(most_rounds) * static_cast<double>(n) / static_cast<double>(items);
    return wanted < 1.0 ? 1 : (wanted < most_rounds ? static_cast<int>(wanted) : most_rounds);
  }

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& t) const {
    const double unit = places.unit();
    // From the last ones, whose items were read last, to the first.
    const int64_t draws = int64_t(rounds) * threads;
    const int64_t begin = (t.blocks() - 1 - t.block()) * draws;
    const int64_t end = begin + draws < places.n ? begin + draws : places.n;
    // Where the items of all do not fit, round by round; where those of a round do not, one by one.
    int64_t step = draws;
#pragma unroll 1
    for (int64_t first = begin; first < end;) {
      const int64_t past = first + step < end ? first + step : end;
      if (!together_in_tile(t, unit, first, past)) {
        if (past - first > threads) {
          step = threads;
          continue;
        }
        if (first + t.thread() < past) alone(*this, unit, first + t.thread());
      }
      first = past;
    }
  }

  BlockGrid grid() const {
    const int64_t draws = int64_t(rounds) * threads;
    return {(places.n + draws - 1) / draws, sizeof(TileShared)};
  }

 private:
  using Bounds = TileShared::Bounds;

  // What the searches of a tile have in common.
  struct Tile {
    int first_node;  // of level 1, relative: first % 32 leaves of node 0 lie before the tile
    int items;
    int64_t base;  // first item
  };

  // Draws begin .. end - 1, if the leaves that they lie in fit. Otherwise false, for all threads.
  template <typename Thread>
  COLLOC_BLOCK bool together_in_tile(const Thread& t, double unit, int64_t begin,
                                     int64_t end) const {
    TileShared& s = *reinterpret_cast<TileShared*>(t.shared());
    t.sync();  // the last tile is no longer read
    if (t.thread() == 0 || t.thread() == warp_size) {
      double place = places.place(t.thread() == 0 ? begin : end - 1, unit);
      const int64_t leaf = places.pool.leaf(place);
      (t.thread() == 0 ? s.first : s.last) = leaf;
      if (t.thread() == 0) s.formula = replaced_formula(*totals);
    }
    t.sync();
    const int64_t first = s.first, last = s.last;
    if (last < first || last - first >= TileShared::leaves) return false;
    const Tile tile = fill(t, s, first, static_cast<int>(last - first) + 1);
    const int draws = static_cast<int>(end - begin);
#pragma unroll 1
    for (int from = 0; from < draws; from += together * threads) {
      draw(t, unit, s, tile, begin, from, draws);
    }
    return true;
  }

  template <typename Thread>
  COLLOC_BLOCK Tile fill(const Thread& t, TileShared& s, int64_t first, int leaves) const {
    const SumTree& tree = places.pool;
    const int64_t base = first * fan;
    const int items =
        static_cast<int>(tree.count - base < leaves * fan ? tree.count - base : leaves * fan);
    const int top = tree.levels - 2;  // the highest level of running sums; -1: a single leaf
    const int64_t node = first / fan;
    const int first_node = static_cast<int>(first % fan);
    const int nodes = (first_node + leaves - 1) / static_cast<int>(fan) + 1;
    const double* values = tree.values + base;
    constexpr int rows = TileShared::leaves / warps;  // loaded before any is stored
    double value[rows];
#pragma unroll
    for (int k = 0; k < rows; ++k) {
      const int at = (t.warp() + k * warps) * static_cast<int>(fan) + t.lane();
      value[k] = at < items ? values[at] : 0.0;
    }
    for (int i = t.thread(); i < leaves; i += threads) s.leaf[i] = bounds(0, first + i);
    for (int i = t.thread(); i < nodes * top; i += threads) {
      const int l = i / nodes + 1;
      int64_t at = node + i % nodes;
      for (int k = 1; k < l; ++k) at /= fan;
      s.level[l][i % nodes] = bounds(l, at);
    }
#pragma unroll
    for (int k = 0; k < rows; ++k) {
      s.sums[(t.warp() + k * warps) * TileShared::row + t.lane()] = value[k];
    }
    t.sync();
    if (t.thread() < TileShared::leaves) {
      // One after the other, as SumTree::item adds them.
      auto* own = reinterpret_cast<Sixteen<double>*>(s.sums + t.thread() * TileShared::row);
      double sum = 0.0;
#pragma unroll
      for (int k = 0; k < fan / 2; k += 4) {
        Sixteen<double> some[4];
#pragma unroll
        for (int e = 0; e < 4; ++e) some[e] = own[k + e];
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          some[e].values[0] = sum += some[e].values[0];
          some[e].values[1] = sum += some[e].values[1];
          own[k + e] = some[e];
        }
      }
    } else if (t.thread() >= threads - TileShared::starts) {
      const int i = t.thread() - (threads - TileShared::starts);
      double start = std::numeric_limits<double>::quiet_NaN();
      if (i < leaves) {
        start = 0.0;
        for (int l = top; l > 0; --l) start += s.level[l][(first_node + i) / fan].low;
        start += s.leaf[i].low;
      }
      s.start[i] = start;
    }
    t.sync();
    return {first_node, items, base};
  }

  COLLOC_HD_MEMBER Bounds bounds(int level, int64_t at) const {
    if (places.pool.levels == 1) return {0.0, std::numeric_limits<double>::infinity()};
    const double* sums = places.pool.level[level];
    return {at % fan > 0 ? sums[at - 1] : 0.0, sums[at]};
  }

  // Several rounds of the `draws` from draw `begin` on: all of them take a step before the next,
  // so that none waits alone.
  template <typename Thread>
  COLLOC_BLOCK void draw(const Thread& t, double unit, const TileShared& s, const Tile& tile,
                         int64_t begin, int from, int draws) const {
    // Those past the end are made and not written.
    const auto own = [&](int k) {
      const int i = from + k * threads + t.thread();
      return i < draws ? i : draws - 1;
    };
    double place[together];
    if (places.scheme != math::DrawScheme::multinomial) {
#pragma unroll
      for (int k = 0; k < together; ++k) {
        place[k] =
            math::stratified_place(math::DrawScheme::stratified, places.keys, begin + own(k), unit);
      }
    } else {
#pragma unroll
      for (int k = 0; k < together; ++k) place[k] = places.place(begin + own(k), unit);
    }
    int item[together];
    find(s, tile, place, item);
    const double* values = places.pool.values + tile.base;
    double q[together];
    DeviceShares::Loaded share[together];
    unsigned missed = 0;
#pragma unroll
    for (int k = 0; k < together; ++k) {
      if (item[k] < 0) missed |= 1u << k;
      // Past the end only where entries are to be refused.
      if (static_cast<unsigned>(item[k]) >= static_cast<unsigned>(tile.items)) {
        item[k] = tile.items - 1;
      }
      q[k] = values[item[k]];
      share[k] = shares.load(tile.base + item[k]);
    }
    const math::WeightFormula formula = s.formula;
    int64_t* indices = index + begin;
    T* weights = weight + begin;
#pragma unroll
    for (int k = 0; k < together; ++k) {
      const int i = from + k * threads + t.thread();
      const T w = static_cast<T>(math::draw_weight(formula, q[k], shares.value(share[k])));
      if (i < draws) {
        indices[i] = tile.base + item[k];
        weights[i] = w;
      }
    }
#pragma unroll 1
    for (; missed != 0; missed &= missed - 1) {
      int k = 0;
      while ((missed >> k & 1) == 0) ++k;
      alone(*this, unit, begin + own(k));
    }
  }

  // The items relative to the tile's first one; -1 where rounding put the place outside of the
  // leaf in which it seemed to lie.
  COLLOC_BLOCK void find(const TileShared& s, const Tile& tile, double (&place)[together],
                         int (&item)[together]) const {
    // By halving.
    int leaf[together];
#pragma unroll
    for (int k = 0; k < together; ++k) {
      leaf[k] = 0;
#pragma unroll
      for (int step = TileShared::starts / 2; step > 0; step /= 2) {
        if (s.start[leaf[k] + step] <= place[k]) leaf[k] += step;
      }
    }
#pragma unroll 1
    for (int l = places.pool.levels - 2; l > 0; --l) {
#pragma unroll
      for (int k = 0; k < together; ++k) {
        const unsigned node = static_cast<unsigned>(tile.first_node + leaf[k]) / unsigned(fan);
        place[k] = rest(s.level[l][node], place[k]);
      }
    }
#pragma unroll
    for (int k = 0; k < together; ++k) place[k] = rest(s.leaf[leaf[k]], place[k]);
#pragma unroll
    for (int k = 0; k < together; ++k) {
      int at = leaf[k] * TileShared::row;
#pragma unroll
      for (int step = static_cast<int>(fan) / 2; step > 0; step /= 2) {
        if (s.sums[at + step - 1] <= place[k]) at += step;
      }
      constexpr int unused = TileShared::row - static_cast<int>(fan);
      item[k] = place[k] < s.sums[at] ? at - unused * leaf[k] : -1;
    }
  }

  // NaN outside of the bounds.
  static COLLOC_BLOCK double rest(const Bounds& bounds, double place) {
    return (place >= bounds.low) & (place < bounds.high) ? place - bounds.low
                                                         : std::numeric_limits<double>::quiet_NaN();
  }

  // Rare.
  static COLLOC_APART void alone(const TileBody& body, double unit, int64_t j) {
    const int64_t i = body.places.pool.find(body.places.place(j, unit));
    body.index[j] = i;
    body.weight[j] = static_cast<T>(math::draw_weight(replaced_formula(*body.totals),
                                                      body.places.pool.values[i], body.shares(i)));
  }
};

}  // namespace colloc
