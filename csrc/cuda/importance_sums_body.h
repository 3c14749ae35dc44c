// Sums over a pool on the GPU in an order that does not depend on the machine, so that equal seeds
// give equal draws: totals by strided parts, and a tree of sums of 32 for prefix sums.
#pragma once

#include "common/block_thread.h"
#include "common/thread_index.h"
#include "math/importance.h"

namespace colloc {

constexpr int64_t fan = 32;

// Shares of area in either precision; both null: 1 each.
struct DeviceShares {
  const float* single;
  const double* wide;

  COLLOC_HD_MEMBER double operator()(int64_t i) const {
    if (single != nullptr) return static_cast<double>(single[i]);
    return wide != nullptr ? wide[i] : 1.0;
  }

  // The same in two steps, of which the first needs not wait for what it loads.
  struct Loaded {
    float single;
    double wide;
  };

  COLLOC_HD_MEMBER Loaded load(int64_t i) const {
    return {single != nullptr ? single[i] : 0.0f, wide != nullptr ? wide[i] : 1.0};
  }

  COLLOC_HD_MEMBER double value(const Loaded& loaded) const {
    return single != nullptr ? static_cast<double>(loaded.single) : loaded.wide;
  }

  // Of items i and i + 1, i even, where the shares lie so that pairs can be loaded at once.
  struct alignas(8) Singles {
    float of[2];
  };
  struct LoadedPair {
    Singles single;
    Sixteen<double> wide;
  };

  bool paired() const {
    return reinterpret_cast<uintptr_t>(single) % sizeof(Singles) == 0 && sixteen_aligned(wide);
  }

  COLLOC_HD_MEMBER LoadedPair load_pair(int64_t i) const {
    LoadedPair pair{{{0.0f, 0.0f}}, {{1.0, 1.0}}};
    if (single != nullptr) pair.single = *reinterpret_cast<const Singles*>(single + i);
    if (wide != nullptr) pair.wide = *reinterpret_cast<const Sixteen<double>*>(wide + i);
    return pair;
  }

  COLLOC_HD_MEMBER double value(const LoadedPair& pair, int k) const {
    return single != nullptr ? static_cast<double>(pair.single.of[k]) : pair.wide.values[k];
  }
};

constexpr int64_t most_parts = 32768;

inline int64_t parts_of(int64_t items) { return items < most_parts ? items : most_parts; }

// to[p] = from[p] + from[p + parts] + ...
template <typename Totals>
struct GatherBody {
  const Totals* from;
  int64_t count;
  Totals* to;
  int64_t parts;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t p = thread.global; p < parts; p += thread.total) {
      Totals sum = from[p];
      for (int64_t i = p + parts; i < count; i += parts) math::add(sum, from[i]);
      to[p] = sum;
    }
  }

  Grid grid() const { return grid_for(parts); }
};

// As many blocks as an H100 holds at once, four on each multiprocessor, so that all go through the
// pool together: what was touched last is still in the cache where the next kernel begins.
constexpr int64_t most_total_blocks = 132 * 4;

inline int64_t total_blocks(int64_t items) {
  const int64_t wanted = (items + 255) / 256;
  return wanted < most_total_blocks ? wanted : most_total_blocks;
}

// The sum over a block's threads, in every one of them that asks for it after.
template <typename Totals, typename Thread>
COLLOC_BLOCK Totals block_total(const Thread& t, const Totals& own) {
  auto* all = reinterpret_cast<Totals*>(t.shared());
  all[t.thread()] = own;
  for (int half = t.threads() / 2; half >= warp_size; half /= 2) {
    t.sync();
    if (t.thread() < half) math::add(all[t.thread()], all[t.thread() + half]);
  }
  t.sync();
  if (t.warp() == 0) {
    for (int half = warp_size / 2; half > 0; half /= 2) {
      if (t.lane() < half) math::add(all[t.lane()], all[t.lane() + half]);
      t.sync_warp();
    }
  }
  t.sync();
  return all[0];
}

// The sum of the blocks' totals, by one block.
template <typename Totals, typename Thread>
COLLOC_BLOCK Totals sum_of_blocks(const Thread& t, const Totals* from, int64_t count,
                                  const Totals& none) {
  Totals sum = none;
  for (int64_t i = t.thread(); i < count; i += t.threads()) math::add(sum, from[i]);
  return block_total(t, sum);
}

// Exchanges doubles between lanes.
template <typename Thread>
COLLOC_BLOCK double double_of_lane(const Thread& t, double x, int mask) {
  const uint64_t bits = math::bits_as<uint64_t>(x);
  const float high = t.shuffle_xor(math::bits_as<float>(static_cast<uint32_t>(bits >> 32)), mask);
  const float low = t.shuffle_xor(math::bits_as<float>(static_cast<uint32_t>(bits)), mask);
  return math::bits_as<double>((static_cast<uint64_t>(math::bits_as<uint32_t>(high)) << 32) |
                               math::bits_as<uint32_t>(low));
}

struct LaneSums {
  double until;  // of the lanes up to this one
  double all;
};

template <typename Thread>
COLLOC_BLOCK LaneSums lane_sums(const Thread& t, double own) {
  LaneSums sums{own, own};
#pragma unroll
  for (int mask = 1; mask < warp_size; mask *= 2) {
    const double other = double_of_lane(t, sums.all, mask);
    if ((t.lane() & mask) != 0) sums.until = other + sums.until;
    sums.all += other;
  }
  return sums;
}

// Totals that `count` parts and their sums take.
inline int64_t gather_memory(int64_t count) { return count + count / (fan - 1) + 16; }

// The sum of all parts, which lie at the beginning of gather_memory(count).
template <typename Totals, typename Run>
Totals* gather(Totals* from, int64_t count, const Run& run) {
  while (count > 1) {
    const int64_t parts = (count + fan - 1) / fan;
    run(GatherBody<Totals>{from, count, from + count, parts});
    from += count;
    count = parts;
  }
  return from;
}

// What a tree sums up.
enum class Counted : int {
  all,      // q
  rest,     // q below the limit
  certain,  // 1 for each q from the limit on
};

COLLOC_HD double counted(Counted which, double limit, double q) {
  const bool sure = q > 0.0 && q >= limit;
  if (which == Counted::certain) return sure ? 1.0 : 0.0;
  return which == Counted::rest && sure ? 0.0 : q;
}

// level[0] holds sums of 32 values each, level[l + 1] sums of 32 of level[l], the last one the
// whole; below the last, entries are running sums within their 32.
struct SumTree {
  static constexpr int most_levels = 12;
  const double* values;
  int64_t count;
  Counted which;
  double limit;
  int levels;
  double* level[most_levels];
  int64_t size[most_levels];

  COLLOC_HD_MEMBER double value(int64_t i) const { return counted(which, limit, values[i]); }

  COLLOC_HD_MEMBER double whole() const { return level[levels - 1][0]; }

  // The leaf (32 values) that a place lies in, which becomes the rest in it.
  COLLOC_HD_MEMBER int64_t leaf(double& place) const {
    int64_t node = 0;
    for (int l = levels - 2; l >= 0; --l) {
      const double* sums = level[l] + node * fan;
      const int64_t left = size[l] - node * fan;
      // Nearly all nodes are full, and need no bounds.
      node = node * fan + (left >= fan ? child<true>(sums, fan, place)
                                       : child<false>(sums, static_cast<int>(left), place));
    }
    return node;
  }

  // The item i with P_(i-1) <= place < P_i; the last one above 0 where rounding finds none.
  COLLOC_HD_MEMBER int64_t find(double place) const {
    const int64_t node = leaf(place);
    const int64_t first = node * fan;
    if (count - first >= fan) {
      return first + (which == Counted::all ? item<true, true>(values + first, fan, place)
                                            : item<true, false>(values + first, fan, place));
    }
    return first + item<false, false>(values + first, static_cast<int>(count - first), place);
  }

  // Of ascending running sums the first above the place, which becomes the rest in it; the first
  // that is equal to the last one where none is above. Every fourth is looked at, then three: loads
  // that need not wait for each other.
  template <bool Full>
  static COLLOC_HD_MEMBER int child(const double* sums, int children, double& place) {
    const double last = sums[children - 1];
    // The number next below the last sum; NaN, which nothing is below, where that is 0.
    const bool past = place >= last;
    const double passed = past ? math::bits_as<double>(math::bits_as<uint64_t>(last) - 1) : place;
    int found = 0;
#pragma unroll
    for (int k = 3; k < fan - 1; k += 4) {
      if (Full || k < children - 1) found += sums[k] <= passed ? 4 : 0;
    }
    const double* ones = sums + found;
    const int left = children - 1 - found;
    int more = 0;
#pragma unroll
    for (int k = 0; k < 3; ++k) {
      if (Full || k < left) more += ones[k] <= passed;
    }
    found += more;
    if (past) {
      place = math::largest_double;
    } else if (found > 0) {
      place -= sums[found - 1];
    }
    return found;
  }

  // The same of the values themselves; the last one above 0 where none is above the place. Plain:
  // of values that all count.
  template <bool Full, bool Plain>
  COLLOC_HD_MEMBER int item(const double* from, int children, double place) const {
    const auto value_of = [&](int i) { return Plain ? from[i] : counted(which, limit, from[i]); };
    double sum = 0.0;
#pragma unroll 1
    for (int first = 0; first < children; first += 4) {
      double sums[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        sums[k] = Full || first + k < children ? value_of(first + k) : 0.0;
      }
      sums[0] += sum;
#pragma unroll
      for (int k = 1; k < 4; ++k) sums[k] += sums[k - 1];
      sum = sums[3];
      if (sum > place) {
        return first + (sums[0] <= place) + (sums[1] <= place) + (sums[2] <= place);
      }
    }
    int found = children - 1;
    while (found > 0 && !(value_of(found) > 0.0)) --found;
    return found;
  }

  // The sum of the values before i.
  COLLOC_HD_MEMBER double before(int64_t i) const {
    double sum = 0.0;
    int64_t node = i / fan;
    for (int l = 0; l < levels - 1; ++l, node /= fan) {
      if (node % fan > 0) sum += level[l][node - 1];
    }
    double rest = 0.0;
    for (int64_t k = i - i % fan; k < i; ++k) rest += value(k);
    return sum + rest;
  }
};

inline int64_t tree_memory(int64_t count) { return gather_memory((count + fan - 1) / fan); }

inline SumTree make_tree(const double* values, int64_t count, Counted which, double limit,
                         double* memory) {
  SumTree tree{values, count, which, limit, 0, {}, {}};
  int64_t size = count;
  do {
    size = (size + fan - 1) / fan;
    tree.level[tree.levels] = memory;
    tree.size[tree.levels++] = size;
    memory += size;
  } while (size > 1);
  return tree;
}

}  // namespace colloc
