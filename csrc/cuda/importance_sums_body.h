// Sums over a pool on the GPU in an order that does not depend on the machine, so that equal seeds
// give equal draws: totals by strided parts, and a tree of sums of 32 for prefix sums.
#pragma once

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

  // The item i with P_(i-1) <= place < P_i; the last one above 0 where rounding finds none.
  COLLOC_HD_MEMBER int64_t find(double place) const {
    int64_t node = 0;
    for (int l = levels - 2; l >= 0; --l) {
      const double* sums = level[l] + node * fan;
      const int64_t left = size[l] - node * fan;
      const int64_t children = left < fan ? left : fan;
      const double last = sums[children - 1];
      if (place >= last) place = math::largest_double;
      int64_t low = 0, high = children - 1;
      while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (sums[middle] > place || sums[middle] == last) {
          high = middle;
        } else {
          low = middle + 1;
        }
      }
      if (low > 0 && place < math::largest_double) place -= sums[low - 1];
      node = node * fan + low;
    }
    double sum = 0.0;
    int64_t found = node * fan;
    const int64_t end = count - node * fan < fan ? count : (node + 1) * fan;
    for (int64_t i = node * fan; i < end; ++i) {
      const double v = value(i);
      if (v > 0.0) found = i;
      sum += v;
      if (sum > place) break;
    }
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

// Fills one level; the one below it becomes running sums.
struct TreeBody {
  SumTree tree;
  int filled;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    const int64_t below = filled == 0 ? tree.count : tree.size[filled - 1];
    for (int64_t g = thread.global; g < tree.size[filled]; g += thread.total) {
      const int64_t end = below - g * fan < fan ? below : (g + 1) * fan;
      double sum = 0.0;
      for (int64_t i = g * fan; i < end; ++i) {
        if (filled == 0) {
          sum += tree.value(i);
        } else {
          tree.level[filled - 1][i] = sum += tree.level[filled - 1][i];
        }
      }
      tree.level[filled][g] = sum;
    }
  }

  Grid grid() const { return grid_for(tree.size[filled]); }
};

template <typename Run>
void fill_tree(const SumTree& tree, const Run& run) {
  for (int l = 0; l < tree.levels; ++l) run(TreeBody{tree, l});
}

}  // namespace colloc
