// Draws of op importance_sample: each finds its item in the tree of sums by itself.
#pragma once

#include "cuda/importance_times_body.h"

namespace colloc {

// Where in [0, sum of the pool) each draw lies.
struct DrawPlaces {
  math::DrawScheme scheme;
  math::DrawKeys keys;
  SumTree pool, times;
  // Of multinomial draws (importance_times_body.h).
  const double* starts;
  const double* within;
  const double* groups;
  int64_t n;

  // What all draws have in common.
  COLLOC_HD_MEMBER double unit() const {
    const bool multinomial = scheme == math::DrawScheme::multinomial;
    return pool.whole() / (multinomial ? times.whole() : static_cast<double>(n));
  }

  // What 32 neighbouring draws have in common.
  struct Group {
    double begin, end, before, unit;
  };

  COLLOC_HD_MEMBER Group group_of(int64_t j, double unit) const {
    if (scheme != math::DrawScheme::multinomial) return {0.0, 0.0, 0.0, unit};
    const int64_t b = j / math::draw_block, g = j / fan;
    const int64_t last = (n < (b + 1) * math::draw_block ? n : (b + 1) * math::draw_block) - 1;
    const double before = g % groups_a_block > 0 ? groups[g - 1] : 0.0;
    const double begin = starts[b] * unit, end = starts[b + 1] * unit;
    return {begin, end, before, (end - begin) / groups[last / fan]};
  }

  COLLOC_HD_MEMBER double place(const Group& group, int64_t j) const {
    if (scheme != math::DrawScheme::multinomial) {
      return math::stratified_place(scheme, keys, j, group.unit);
    }
    const double at = group.begin + (group.before + within[j]) * group.unit;
    return at < group.end ? at : group.end;
  }

  COLLOC_HD_MEMBER double place(int64_t j, double unit) const {
    return place(group_of(j, unit), j);
  }
};

// With replacement. The sums are on the GPU when the draws are launched, and not on the host.
COLLOC_HD math::WeightFormula replaced_formula(const math::PoolTotals& totals) {
  return {1.0 / totals.area, totals.sum, 0.0};
}

// One draw a thread; where nothing is moved after, with its weight.
template <typename T>
struct DrawBody {
  DrawPlaces places;
  const math::PoolTotals* totals;  // may be null without weight
  DeviceShares shares;
  int64_t* index;
  T* weight;  // may be null

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    const double unit = places.unit();
    const math::WeightFormula formula =
        weight != nullptr ? replaced_formula(*totals) : math::WeightFormula{};
    for (int64_t j = thread.global; j < places.n; j += thread.total) {
      const int64_t i = places.pool.find(places.place(j, unit));
      index[j] = i;
      if (weight != nullptr) {
        weight[j] = static_cast<T>(math::draw_weight(formula, places.pool.values[i], shares(i)));
      }
    }
  }

  Grid grid() const { return grid_for(places.n); }
};

}  // namespace colloc
