// The work of one thread of op importance_sample, and the order of its kernels.
#pragma once

#include <vector>

#include "common/importance_plan.h"
#include "cuda/importance_sums_body.h"

namespace colloc {

struct PoolBody {
  const double* q;
  DeviceShares shares;
  int64_t items, parts;
  math::PoolTotals* totals;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t p = thread.global; p < parts; p += thread.total) {
      math::PoolTotals sum{0.0, 0.0, 0.0, 0, 0, items, 0, items};
      for (int64_t i = p; i < items; i += parts) {
        const double a = shares(i);
        const bool bad = !math::finite_nonnegative(q[i]), bad_area = !math::finite_nonnegative(a);
        math::add(
            sum, {q[i], a, q[i], q[i] > 0.0, bad, bad ? i : items, bad_area, bad_area ? i : items});
      }
      totals[p] = sum;
    }
  }

  Grid grid() const { return grid_for(parts); }
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

constexpr int64_t groups_a_block = math::draw_block / fan;

// Multinomial: the time that each block of draws takes, and inside it running sums of its
// exponentials at the end of every 32.
struct TimesBody {
  math::DrawKeys keys;
  int64_t n;
  double* times;   // blocks + 1
  double* groups;  // of all draws, 32 each

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t b = thread.global; b <= math::draw_blocks(n); b += thread.total) {
      times[b] = math::block_time(keys, b, n);
      double sum = 0.0;
      for (int64_t g = b * groups_a_block; g * fan < n && g < (b + 1) * groups_a_block; ++g) {
        groups[g] = sum += groups[g];
      }
    }
  }

  Grid grid() const { return grid_for(math::draw_blocks(n) + 1, 132 * 16, 64); }
};

struct ExponentialBody {
  math::DrawKeys keys;
  int64_t n;
  double* groups;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t g = thread.global; g * fan < n; g += thread.total) {
      double sum = 0.0;
      const int64_t end = n < (g + 1) * fan ? n : (g + 1) * fan;
      for (int64_t j = g * fan; j < end; ++j) {
        sum += math::random_exponential(keys.each, static_cast<uint64_t>(j));
      }
      groups[g] = sum;
    }
  }

  Grid grid() const { return grid_for((n + fan - 1) / fan, 132 * 16, 64); }
};

// One draw a thread.
struct DrawBody {
  math::DrawScheme scheme;
  math::DrawKeys keys;
  SumTree pool, times;
  const double* groups;
  int64_t n;
  int64_t* index;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t j = thread.global; j < n; j += thread.total) index[j] = pool.find(place(j));
  }

  COLLOC_HD_MEMBER double place(int64_t j) const {
    const double sum = pool.whole();
    if (scheme != math::DrawScheme::multinomial) {
      return math::stratified_place(scheme, keys, j, sum / static_cast<double>(n));
    }
    const int64_t b = j / math::draw_block, g = j / fan;
    const int64_t last = (n < (b + 1) * math::draw_block ? n : (b + 1) * math::draw_block) - 1;
    double within = g % groups_a_block > 0 ? groups[g - 1] : 0.0, own = 0.0;
    for (int64_t k = g * fan; k <= j; ++k) {
      own += math::random_exponential(keys.each, static_cast<uint64_t>(k));
    }
    within += own;
    const double unit = sum / times.whole();
    const double begin = times.before(b) * unit, end = times.before(b + 1) * unit;
    const double at = begin + within * ((end - begin) / groups[last / fan]);
    return at < end ? at : end;
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
// copy, upload(vector, pointer) and, for a repair, save(vector, pointer).
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
  const int64_t parts = parts_of(s.items);
  auto* memory = device.template take<math::PoolTotals>(gather_memory(parts));
  run(PoolBody{s.q, s.shares, s.items, parts, memory});
  const math::PoolTotals totals = device.fetch(gather(memory, parts, run));
  check(totals);
  if (s.n == 0) return;

  const bool once = s.scheme == DrawScheme::without_replacement;
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
  double* groups = nullptr;
  if (s.scheme == DrawScheme::multinomial) {
    const int64_t blocks = math::draw_blocks(s.n);
    groups = device.template take<double>((s.n + fan - 1) / fan);
    auto* each = device.template take<double>(blocks + 1);
    run(ExponentialBody{keys, s.n, groups});
    run(TimesBody{keys, s.n, each, groups});
    times = filled_tree(device, each, blocks + 1, Counted::all, no_limit);
  }
  if (drawn > 0) {
    const SumTree pool = filled_tree(device, q, s.items, Counted::rest, limit);
    run(DrawBody{s.scheme, keys, pool, times, groups, drawn, index});
    if (once) separate_on(device, index, drawn, q, s.items, limit);
  }
  if (included.certain > 0) {
    auto* sure = device.template take<int64_t>(included.certain);
    const SumTree tree = filled_tree(device, q, s.items, Counted::certain, limit);
    run(CountedBody{tree, included.certain, sure});
    run(MergeBody{index, drawn, sure, included.certain, s.index});
  }
  if (once) run(ItemBody{order, s.n, s.index});
  const math::WeightFormula formula = weight_formula(s.scheme, totals, s.n, included.limit);
  run(WeightBody<T>{formula, s.q, s.shares, s.index, s.n, s.weight});
}

}  // namespace colloc
