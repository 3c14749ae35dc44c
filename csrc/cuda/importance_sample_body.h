// The work of one thread of op importance_sample, and the order of its kernels.
#pragma once

#include <vector>

#include "common/importance_plan.h"
#include "cuda/importance_draw_body.h"

namespace colloc {

// Totals, and with `groups` the sums of 32 values each.
struct PoolBody {
  static constexpr int threads = 256, least_blocks = 4;

  const double* q;
  DeviceShares shares;
  int64_t items;
  double* groups;            // may be null
  math::PoolTotals* totals;  // a block

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& t) const {
    math::PoolTotals sum = none();
    // Whole warps go on, for what their lanes do together.
    const int64_t step = t.blocks() * threads;
    int64_t first = t.block() * threads + t.warp() * warp_size;
    // The next item is loaded before the work on this one.
    double next = 0.0;
    DeviceShares::Loaded next_share{};
    const auto load = [&](int64_t i) {
      if (i >= items) return;
      next = q[i];
      next_share = shares.load(i);
    };
    load(first + t.lane());
    for (; first < items; first += step) {
      const int64_t i = first + t.lane();
      const double a = shares.value(next_share);
      double value = i < items ? next : 0.0;
      load(i + step);
      if (i < items) {
        const bool bad = !math::finite_nonnegative(value), bad_area = !math::finite_nonnegative(a);
        math::add(sum, {value, a, value, value > 0.0, bad, bad ? i : items, bad_area,
                        bad_area ? i : items});
      }
      if (groups != nullptr) {
#pragma unroll
        for (int mask = 1; mask < warp_size; mask *= 2) value += double_of_lane(t, value, mask);
        if (t.lane() == 0) groups[first / fan] = value;
      }
    }
    const math::PoolTotals all = block_total(t, sum);
    if (t.thread() == 0) totals[t.block()] = all;
  }

  COLLOC_HD_MEMBER math::PoolTotals none() const { return {0.0, 0.0, 0.0, 0, 0, items, 0, items}; }

  BlockGrid grid() const { return {total_blocks(items), threads * sizeof(math::PoolTotals)}; }
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

// `device` has what differs between a GPU and the host: run(body), take<X>(count) for memory that
// lives until the end, fetch(pointer) -> the value there, load(pointer, count) -> a vector of a
// copy, upload(vector, pointer) and, for a repair, save(vector, pointer); least_walked(): the draws
// from which on threads make several each.
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
  fill_tree(tree, [&](const auto& body) { device.run(body); });
  return tree;
}

template <typename T, typename Device, typename Check>
void sample_bodies(const SampleArrays<T>& s, Device& device, const Check& check) {
  using math::DrawScheme;
  const auto run = [&](const auto& body) { device.run(body); };
  const bool once = s.scheme == DrawScheme::without_replacement;
  const int64_t blocks = total_blocks(s.items);
  auto* memory = device.template take<math::PoolTotals>(blocks + 1);
  // The tree of all values; without replacement it is of the pool in another order.
  SumTree pool{};
  if (!once && s.n > 0) {
    pool = make_tree(s.q, s.items, Counted::all, no_limit,
                     device.template take<double>(tree_memory(s.items)));
  }
  const PoolBody body{s.q, s.shares, s.items, pool.levels > 0 ? pool.level[0] : nullptr, memory};
  device.run_blocks(body, body.grid());
  const TotalBody<math::PoolTotals> sum{memory, blocks, body.none(), memory + blocks};
  device.run_blocks(sum, sum.grid());
  const math::PoolTotals totals = device.fetch(sum.to);
  check(totals);
  if (s.n == 0) return;

  int64_t* order = nullptr;
  const double* q = s.q;
  if (once) {
    order = device.template take<int64_t>(s.items);
    device.upload(draw_order(s.seed, s.items), order);
    auto* mixed = device.template take<double>(s.items);
    run(ShuffleBody{order, s.q, s.items, mixed});
    q = mixed;
  }
  Inclusion included{no_limit, 0, totals.sum};
  if (once) included = include(device, q, s.items, totals, s.n);
  const double limit = included.certain > 0 ? included.limit : no_limit;
  const int64_t drawn = s.n - included.certain;
  int64_t* index = included.certain > 0 ? device.template take<int64_t>(drawn + 1) : s.index;

  const math::DrawKeys keys = math::draw_keys(s.seed);
  SumTree times{};
  double* starts = nullptr;
  double* within = nullptr;
  double* groups = nullptr;
  if (s.scheme == DrawScheme::multinomial) {
    const int64_t draw_blocks = math::draw_blocks(s.n);
    groups = device.template take<double>((s.n + fan - 1) / fan);
    auto* each = device.template take<double>(draw_blocks + 1);
    within = device.template take<double>(s.n);
    const ExponentialBody exponentials{keys, s.n, within, groups};
    device.run_blocks(exponentials, exponentials.grid());
    run(TimesBody{keys, s.n, each, groups});
    times = filled_tree(device, each, draw_blocks + 1, Counted::all, no_limit);
    starts = device.template take<double>(draw_blocks + 1);
    run(StartsBody{times, starts});
  }
  const math::WeightFormula formula = weight_formula(s.scheme, totals, s.n, included.limit);
  if (drawn > 0) {
    if (once) {
      pool = filled_tree(device, q, s.items, Counted::rest, limit);
    } else {
      fill_tree(pool, run, 1);
    }
    const DrawPlaces places{s.scheme, keys, pool, times, starts, within, groups, drawn};
    if (!once && s.n >= device.least_walked() && s.n >= s.items / 8) {
      const WalkBody<T> walk{places, formula, s.shares, index, s.weight};
      device.run_blocks(walk, walk.grid());
    } else {
      run(DrawBody<T>{places, formula, s.shares, index, once ? nullptr : s.weight});
    }
    if (once) separate_on(device, index, drawn, q, s.items, limit);
  }
  if (included.certain > 0) {
    auto* sure = device.template take<int64_t>(included.certain);
    const SumTree tree = filled_tree(device, q, s.items, Counted::certain, limit);
    run(CountedBody{tree, included.certain, sure});
    run(MergeBody{index, drawn, sure, included.certain, s.index});
  }
  if (!once) return;
  run(ItemBody{order, s.n, s.index});
  run(WeightBody<T>{formula, s.q, s.shares, s.index, s.n, s.weight});
}

}  // namespace colloc
