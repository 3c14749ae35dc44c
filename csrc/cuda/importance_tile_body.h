// Many draws of op importance_sample: a block takes neighbouring ones, whose items lie together,
// and searches in shared memory. It finds what DrawBody finds, by the same sums.
#pragma once

#include <limits>

#include "common/apart.h"
#include "cuda/importance_draw_body.h"

namespace colloc {

// A run of leaves of a tree in which all values count, with the way to them from above.
struct TileShared {
  static constexpr int leaves = 96, row = fan + 1;  // odd for the banks
  static constexpr int nodes = leaves / fan + 1;    // of level 1 that so many leaves can lie in

  double sums[leaves * row];  // running sums in each leaf; the last value's to the leaf's end
  double until[leaves + 1];   // running sums up to the leaf, of those in the same node
  // Of a level: running sums without the node and with it.
  double lower[SumTree::most_levels][nodes], upper[SumTree::most_levels][nodes];
  int64_t first, last;  // leaves
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
  // What the searches of a tile have in common.
  struct Tile {
    int64_t first;  // leaf
    int leaves;
    int first_node;  // of level 1, relative: first % 32 leaves of node 0 lie before the tile
    int nodes;
    int joint;  // from this level on all lie in the same nodes
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
    const int64_t left = tree.count - base;
    const int top = tree.levels - 2;  // the highest level of running sums; -1: a single leaf
    const int64_t node = first / fan;
    const int nodes = static_cast<int>((first + leaves - 1) / fan - node) + 1;
    for (int i = t.thread(); i <= leaves; i += threads) s.until[i] = until(first + i);
    for (int i = t.thread(); i < nodes * top; i += threads) {
      const int l = i / nodes + 1;
      int64_t at = node + i % nodes;
      for (int k = 1; k < l; ++k) at /= fan;
      s.lower[l][i % nodes] = at % fan > 0 ? tree.level[l][at - 1] : 0.0;
      s.upper[l][i % nodes] = tree.level[l][at];
    }
    int joint = 1;
    for (int64_t a = node, b = node + nodes - 1; a != b; a /= fan, b /= fan) ++joint;
    constexpr int rows = TileShared::leaves / warps;  // loaded before any is stored
#pragma unroll 1
    for (int from = t.warp(); from < leaves; from += rows * warps) {
      double value[rows];
#pragma unroll
      for (int k = 0; k < rows; ++k) {
        const int r = from + k * warps, at = r * static_cast<int>(fan) + t.lane();
        value[k] = r < leaves && at < left ? tree.values[base + at] : 0.0;
      }
#pragma unroll
      for (int k = 0; k < rows; ++k) {
        const int r = from + k * warps;
        if (r < leaves) s.sums[r * TileShared::row + t.lane()] = value[k];
      }
    }
    t.sync();
    // One after the other, as SumTree::item adds them.
    for (int r = t.thread(); r < leaves; r += threads) {
      double* own = s.sums + r * TileShared::row;
      double sum = 0.0;
#pragma unroll
      for (int k = 0; k < fan; k += 8) {
        double some[8];
#pragma unroll
        for (int e = 0; e < 8; ++e) some[e] = own[k + e];
#pragma unroll
        for (int e = 0; e < 8; ++e) own[k + e] = sum += some[e];
      }
    }
    t.sync();
    return {first, leaves, static_cast<int>(first % fan), nodes, joint};
  }

  // Of the leaves in the same node as this one's forerunner.
  COLLOC_HD_MEMBER double until(int64_t leaf) const {
    if (places.pool.levels == 1) return leaf > 0 ? std::numeric_limits<double>::infinity() : 0.0;
    return leaf > 0 ? places.pool.level[0][leaf - 1] : 0.0;
  }

  // Several rounds of the `draws` from draw `begin` on: all loads of a step come before the next.
  template <typename Thread>
  COLLOC_BLOCK void draw(const Thread& t, double unit, const TileShared& s, const Tile& tile,
                         int64_t begin, int from, int draws) const {
    const auto own = [&](int k) { return from + k * threads + t.thread(); };
    const int64_t base = tile.first * fan;
    const int64_t left = places.pool.count - base;
    const int items = left < TileShared::leaves * fan ? static_cast<int>(left)
                                                      : TileShared::leaves * static_cast<int>(fan);
    int item[together];
    unsigned missed = 0;
#pragma unroll
    for (int k = 0; k < together; ++k) {
      item[k] = 0;
      if (own(k) < draws) {
        const int found = find(s, tile, places.place(begin + own(k), unit));
        if (found < 0) missed |= 1u << k;
        // Past the end only where entries are to be refused.
        item[k] = found < 0 ? 0 : (found < items ? found : items - 1);
      }
    }
    double q[together];
    DeviceShares::Loaded share[together];
#pragma unroll
    for (int k = 0; k < together; ++k) {
      q[k] = places.pool.values[base + item[k]];
      share[k] = shares.load(base + item[k]);
    }
    const math::WeightFormula formula = s.formula;
#pragma unroll
    for (int k = 0; k < together; ++k) {
      const int64_t j = begin + own(k);
      if (own(k) < draws) {
        index[j] = base + item[k];
        weight[j] = static_cast<T>(math::draw_weight(formula, q[k], shares.value(share[k])));
      }
    }
#pragma unroll 1
    for (; missed != 0; missed &= missed - 1) {
      int k = 0;
      while ((missed >> k & 1) == 0) ++k;
      alone(*this, unit, begin + own(k));
    }
  }

  // The item relative to the tile's first one; -1 where rounding put the place outside of all.
  COLLOC_BLOCK int find(const TileShared& s, const Tile& tile, double place) const {
    for (int l = places.pool.levels - 2; l >= tile.joint; --l) {
      if (!(place >= s.lower[l][0] && place < s.upper[l][0])) return -1;
      place -= s.lower[l][0];
    }
    int node = 0;
    double rest = place;
    while (true) {
      rest = place;
      bool inside = true;
      for (int l = tile.joint - 1; l > 0; --l) {
        inside = inside && rest >= s.lower[l][node] && rest < s.upper[l][node];
        rest -= s.lower[l][node];
      }
      if (inside) break;
      if (++node == tile.nodes) return -1;
    }
    // The node's leaves in the tile.
    int begin = node * static_cast<int>(fan) - tile.first_node;
    int end = begin + static_cast<int>(fan);
    if (begin < 0) begin = 0;
    if (end > tile.leaves) end = tile.leaves;
    const int leaf = begin + first_above(s.until + begin + 1, end - begin, rest);
    if (!(rest < s.until[leaf + 1])) return -1;
    if ((leaf + tile.first_node) % fan > 0) {
      if (rest < s.until[leaf]) return -1;
      rest -= s.until[leaf];
    }
    const double* sums = s.sums + leaf * TileShared::row;
    const int item = first_above(sums, static_cast<int>(fan), rest);
    return rest < sums[item] ? leaf * static_cast<int>(fan) + item : -1;
  }

  // The first of up to 32 ascending numbers that is above x, or the last one.
  static COLLOC_BLOCK int first_above(const double* numbers, int count, double x) {
    int found = 0;
#pragma unroll
    for (int step = static_cast<int>(fan) / 2; step > 0; step /= 2) {
      const int next = found + step;
      if (next < count && numbers[next - 1] <= x) found = next;
    }
    return found;
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
