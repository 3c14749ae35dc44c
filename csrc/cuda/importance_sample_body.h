// The work of one thread of op importance_sample, and the order of its kernels.
#pragma once

#include <algorithm>
#include <vector>

#include "common/importance_plan.h"
#include "cuda/importance_fill_body.h"
#include "cuda/importance_tile_body.h"

namespace colloc {

// Totals, and with `groups` the sums of 32 values each.
struct PoolBody {
  static constexpr int threads = 256, least_blocks = 4;
  static constexpr int together = 4;  // items that are loaded before any work
  static constexpr int64_t tile = threads * together;

  const double* q;
  DeviceShares shares;
  int64_t items;
  double* groups;            // may be null
  math::PoolTotals* totals;  // a block

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& t) const {
    math::PoolTotals sum = none();
    for (int64_t first = t.block() * tile; first < items; first += t.blocks() * tile) {
      double value[together];
      DeviceShares::Loaded share[together];
#pragma unroll
      for (int k = 0; k < together; ++k) {
        const int64_t i = first + k * threads + t.thread();
        value[k] = i < items ? q[i] : 0.0;
        share[k] = i < items ? shares.load(i) : DeviceShares::Loaded{0.0f, 0.0};
      }
#pragma unroll
      for (int k = 0; k < together; ++k) {
        const int64_t i = first + k * threads + t.thread();
        add_item(sum, i, value[k], shares.value(share[k]));
        // Whole warps, for what their lanes do together.
        if (groups != nullptr) {
          double all = value[k];
#pragma unroll
          for (int mask = 1; mask < warp_size; mask *= 2) all += double_of_lane(t, all, mask);
          if (t.lane() == 0 && i < items) groups[i / fan] = all;
        }
      }
    }
    const math::PoolTotals all = block_total(t, sum);
    if (t.thread() == 0) totals[t.block()] = all;
  }

  COLLOC_HD_MEMBER void add_item(math::PoolTotals& sum, int64_t i, double value, double a) const {
    sum.sum += value;
    sum.area += a;
    if (value > sum.largest) sum.largest = value;
    sum.positive += value > 0.0;
    if (!math::finite_nonnegative(value)) {
      ++sum.bad;
      if (i < sum.first_bad) sum.first_bad = i;
    }
    if (!math::finite_nonnegative(a)) {
      ++sum.bad_area;
      if (i < sum.first_bad_area) sum.first_bad_area = i;
    }
  }

  COLLOC_HD_MEMBER math::PoolTotals none() const { return {0.0, 0.0, 0.0, 0, 0, items, 0, items}; }

  BlockGrid grid() const { return {total_blocks(items), threads * sizeof(math::PoolTotals)}; }
};

// The sum over the pool, for the next kernels and for the host, and the top of its tree.
struct PoolTotalBody {
  static constexpr int threads = 256, least_blocks = 1;

  const math::PoolTotals* from;
  int64_t count;
  math::PoolTotals none;
  math::PoolTotals *to, *host;
  SumTree tree;
  int first;  // level; from `levels` on there are none

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& t) const {
    // Side by side.
    if (t.block() == 0) {
      const math::PoolTotals all = sum_of_blocks(t, from, count, none);
      if (t.thread() == 0) {
        *to = all;
        *host = all;
      }
    } else {
      fill_top(t, tree, first);
    }
  }

  BlockGrid grid() const {
    return {first < tree.levels ? 2 : 1,
            std::max(threads * sizeof(math::PoolTotals), TreeTopBody::memory)};
  }
};

struct CertainBody {
  const double* q;
  double limit;
  int64_t items, parts;
  math::Certain* totals;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t p = thread.global; p < parts; p += thread.total) {
      math::Certain sum{0, 0.0};
      for (int64_t i = p; i < items; i += parts) {
        sum.count += counted(Counted::certain, limit, q[i]) > 0.0;
        sum.rest += counted(Counted::rest, limit, q[i]);
      }
      totals[p] = sum;
    }
  }

  Grid grid() const { return grid_for(parts); }
};

// The pool in random order.
struct ShuffleBody {
  const int64_t* order;
  const double* q;
  int64_t items;
  double* mixed;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t i = thread.global; i < items; i += thread.total) {
      mixed[i] = q[order[i]];
    }
  }

  Grid grid() const { return grid_for(items); }
};

// From places in that order to items.
struct ItemBody {
  const int64_t* order;
  int64_t n;
  int64_t* index;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t j = thread.global; j < n; j += thread.total) {
      index[j] = order[index[j]];
    }
  }

  Grid grid() const { return grid_for(n); }
};

// index[j] = the j-th of what the tree counts.
struct CountedBody {
  SumTree tree;
  int64_t n;
  int64_t* index;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t j = thread.global; j < n; j += thread.total) {
      index[j] = tree.find(static_cast<double>(j) + 0.5);
    }
  }

  Grid grid() const { return grid_for(n); }
};

// Two ascending lists without a common entry into one.
struct MergeBody {
  const int64_t* one;
  int64_t n_one;
  const int64_t* two;
  int64_t n_two;
  int64_t* merged;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t j = thread.global; j < n_one + n_two; j += thread.total) {
      const bool first = j < n_one;
      const int64_t own = first ? j : j - n_one;
      const int64_t item = first ? one[own] : two[own];
      const int64_t* other = first ? two : one;
      int64_t low = 0, high = first ? n_two : n_one;
      while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (other[middle] < item) {
          low = middle + 1;
        } else {
          high = middle;
        }
      }
      merged[own + low] = item;
    }
  }

  Grid grid() const { return grid_for(n_one + n_two); }
};

// Counts draws that are not above the one before.
struct RepeatBody {
  const int64_t* index;
  int64_t n, parts;
  math::Certain* totals;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t p = thread.global; p < parts; p += thread.total) {
      math::Certain sum{0, 0.0};
      for (int64_t j = p; j < n; j += parts) sum.count += j > 0 && index[j] <= index[j - 1];
      totals[p] = sum;
    }
  }

  Grid grid() const { return grid_for(parts); }
};

template <typename T>
struct WeightBody {
  math::WeightFormula formula;
  const double* q;
  DeviceShares shares;
  const int64_t* index;
  int64_t n;
  T* weight;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t j = thread.global; j < n; j += thread.total) {
      const int64_t i = index[j];
      weight[j] = static_cast<T>(math::draw_weight(formula, q[i], shares(i)));
    }
  }

  Grid grid() const { return grid_for(n); }
};

template <typename T>
struct SampleArrays {
  math::DrawScheme scheme;
  uint64_t seed;
  const double* q;
  DeviceShares shares;
  int64_t items, n;
  int64_t* index;
  T* weight;
};

// `device` has what differs between a GPU and the host: run(body), run_blocks(body, grid),
// take<X>(count) for memory that lives until the end, fetch(pointer) -> the value there,
// load(pointer, count) -> a vector of a copy, upload(vector, pointer) and, for a repair,
// save(vector, pointer). with_host<X>(): memory that kernels write and the host reads; what was
// written there before mark() is what received(pointer) waits for. least_walked(): the draws from
// which on blocks search for them together.
template <typename Device>
Inclusion include(Device& device, const double* q, int64_t items, const math::PoolTotals& totals,
                  int64_t n) {
  const auto run = [&](const auto& body) { device.run(body); };
  const int64_t parts = parts_of(items);
  auto* memory = device.template take<math::Certain>(gather_memory(parts));
  const auto count = [&](double limit) {
    run(CertainBody{q, limit, items, parts, memory});
    return device.fetch(gather(memory, parts, run));
  };
  return inclusion(totals, n, count, [&] { return device.load(q, items); });
}

template <typename Device>
void separate_on(Device& device, int64_t* index, int64_t n, const double* q, int64_t items,
                 double limit) {
  const auto run = [&](const auto& body) { device.run(body); };
  const int64_t parts = parts_of(n);
  auto* memory = device.template take<math::Certain>(gather_memory(parts));
  run(RepeatBody{index, n, parts, memory});
  if (device.fetch(gather(memory, parts, run)).count == 0) return;
  std::vector<int64_t> drawn = device.load(index, n);  // as good as never
  separate(drawn.data(), n, device.load(q, items).data(), items, limit);
  device.save(drawn, index);
}

template <typename Device>
SumTree filled_tree(Device& device, const double* values, int64_t count, Counted which,
                    double limit) {
  const SumTree tree =
      make_tree(values, count, which, limit, device.template take<double>(tree_memory(count)));
  const int top = fill_wide(tree, device, 0);
  const TreeTopBody rest{tree, top};
  if (top < tree.levels) device.run_blocks(rest, rest.grid());
  return tree;
}

// Multinomial and stratified ones.
template <typename T, typename Device>
void replaced_draws(const SampleArrays<T>& s, Device& device, const SumTree& pool,
                    const math::PoolTotals* totals) {
  const auto run = [&](const auto& body) { device.run(body); };
  const math::DrawKeys keys = math::draw_keys(s.seed);
  DrawPlaces places{s.scheme, keys, pool, {}, nullptr, nullptr, nullptr, s.n};
  if (s.scheme == math::DrawScheme::multinomial) {
    const int64_t draw_blocks = math::draw_blocks(s.n);
    auto* groups = device.template take<double>((s.n + fan - 1) / fan);
    auto* each = device.template take<double>(draw_blocks + 1);
    auto* within = device.template take<double>(s.n);
    const ExponentialBody exponentials{keys, s.n, within, groups};
    device.run_blocks(exponentials, exponentials.grid());
    run(TimesBody{keys, s.n, each, groups});
    places.times = filled_tree(device, each, draw_blocks + 1, Counted::all, no_limit);
    auto* starts = device.template take<double>(draw_blocks + 1);
    run(StartsBody{places.times, starts});
    places.starts = starts;
    places.within = within;
    places.groups = groups;
  }
  if (s.n >= device.least_walked() && s.n >= s.items / 8) {
    const TileBody<T> tiles{places,  totals,  s.shares, TileBody<T>::rounds_for(s.n, s.items),
                            s.index, s.weight};
    device.run_blocks(tiles, tiles.grid());
  } else {
    run(DrawBody<T>{places, totals, s.shares, s.index, s.weight});
  }
}

// Without replacement.
template <typename T, typename Device>
void different_draws(const SampleArrays<T>& s, Device& device, const math::PoolTotals& totals) {
  const auto run = [&](const auto& body) { device.run(body); };
  auto* order = device.template take<int64_t>(s.items);
  device.upload(draw_order(s.seed, s.items), order);
  auto* q = device.template take<double>(s.items);
  run(ShuffleBody{order, s.q, s.items, q});
  const Inclusion included = include(device, q, s.items, totals, s.n);
  const double limit = included.certain > 0 ? included.limit : no_limit;
  const int64_t drawn = s.n - included.certain;
  int64_t* index = included.certain > 0 ? device.template take<int64_t>(drawn + 1) : s.index;
  if (drawn > 0) {
    const SumTree pool = filled_tree(device, q, s.items, Counted::rest, limit);
    const DrawPlaces places{s.scheme, math::draw_keys(s.seed), pool, {}, nullptr, nullptr, nullptr,
                            drawn};
    run(DrawBody<T>{places, nullptr, s.shares, index, nullptr});
    separate_on(device, index, drawn, q, s.items, limit);
  }
  if (included.certain > 0) {
    auto* sure = device.template take<int64_t>(included.certain);
    const SumTree tree = filled_tree(device, q, s.items, Counted::certain, limit);
    run(CountedBody{tree, included.certain, sure});
    run(MergeBody{index, drawn, sure, included.certain, s.index});
  }
  run(ItemBody{order, s.n, s.index});
  const math::WeightFormula formula = weight_formula(s.scheme, totals, s.n, included.limit);
  run(WeightBody<T>{formula, s.q, s.shares, s.index, s.n, s.weight});
}

template <typename T, typename Device, typename Check>
void sample_bodies(const SampleArrays<T>& s, Device& device, const Check& check) {
  using math::DrawScheme;
  const bool once = s.scheme == DrawScheme::without_replacement;
  const int64_t blocks = total_blocks(s.items);
  auto* memory = device.template take<math::PoolTotals>(blocks + 1);
  auto* host = device.template with_host<math::PoolTotals>();
  // The tree of all values; without replacement it is of the pool in another order.
  SumTree pool{};
  if (!once && s.n > 0) {
    pool = make_tree(s.q, s.items, Counted::all, no_limit,
                     device.template take<double>(tree_memory(s.items)));
  }
  const PoolBody body{s.q, s.shares, s.items, pool.levels > 0 ? pool.level[0] : nullptr, memory};
  device.run_blocks(body, body.grid());
  const int top = fill_wide(pool, device, 1);
  const PoolTotalBody sum{memory, blocks, body.none(), memory + blocks, host, pool, top};
  device.run_blocks(sum, sum.grid());
  device.mark();
  // Draws with replacement are launched before the sums are looked at: they read and write inside
  // their arrays whatever the entries are.
  if (!once && s.n > 0) replaced_draws(s, device, pool, sum.to);
  const math::PoolTotals totals = device.received(host);
  check(totals);
  if (once && s.n > 0) different_draws(s, device, totals);
}

}  // namespace colloc
