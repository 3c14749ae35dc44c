// The work of one thread of op importance_probabilities, and the order of its kernels.
#pragma once

#include "common/importance_plan.h"
#include "cuda/importance_sums_body.h"

namespace colloc {

template <typename T>
struct MeasureArrays {
  const T* measure;
  int64_t row_stride, column_stride, columns;
  bool norm;
  double power;
  math::MeasureUnits units;
  DeviceShares shares;
  int64_t items;
  double* out;
};

// Wide: rows of four that are loaded at once.
template <typename T, bool Wide>
struct MeasureBody {
  static constexpr int threads = 256, least_blocks = Wide && sizeof(T) == 4 ? 4 : 3;

  MeasureArrays<T> rows;
  math::MeasureTotals* totals;  // a block

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& t) const {
    math::MeasureTotals sum = none();
    // The next item is loaded before the work on this one.
    const int64_t step = t.blocks() * threads;
    int64_t i = t.block() * threads + t.thread();
    Loaded next{};
    if (i < rows.items) next = load(i);
    for (; i < rows.items; i += step) {
      const Loaded now = next;
      if (i + step < rows.items) next = load(i + step);
      math::add(sum, item(i, now));
    }
    const math::MeasureTotals all = block_total(t, sum);
    if (t.thread() == 0) totals[t.block()] = all;
  }

  COLLOC_HD_MEMBER math::MeasureTotals none() const {
    return {0.0, 0.0, 0.0, 0.0, 0, rows.items, 0, rows.items};
  }

  struct Loaded {
    T row[4];  // if Wide
    DeviceShares::Loaded share;
  };

  COLLOC_HD_MEMBER Loaded load(int64_t i) const {
    Loaded loaded{};
    if constexpr (Wide) load_row(loaded.row, rows.measure + i * rows.row_stride, true);
    loaded.share = rows.shares.load(i);
    return loaded;
  }

  COLLOC_HD_MEMBER double measure(int64_t i, const Loaded& loaded) const {
    const double unit = rows.units.entry;
    if constexpr (Wide) {
      return math::row_measure(loaded.row, 1, 4, true, unit);
    } else {
      return math::row_measure(rows.measure + i * rows.row_stride, rows.column_stride, rows.columns,
                               rows.norm, unit);
    }
  }

  COLLOC_HD_MEMBER math::MeasureTotals item(int64_t i, const Loaded& loaded) const {
    const math::MeasureUnits& units = rows.units;
    const double m = measure(i, loaded);
    const double a = rows.shares.value(loaded.share) * units.area;
    const double raised = rows.power == 1.0
                              ? m * units.measure
                              : math::nonnegative_power(m * units.measure, rows.power);
    // A point without a share may have overflown in units made for the others.
    const double product = a > 0.0 ? raised * units.powered * a : 0.0;
    rows.out[i] = product;
    const bool bad = !math::finite_nonnegative(m), bad_area = !math::finite_nonnegative(a);
    return {product,
            a,
            a > 0.0 ? m : 0.0,
            a,
            bad,
            bad ? i : rows.items,
            bad_area,
            bad_area ? i : rows.items};
  }

  BlockGrid grid() const {
    return {total_blocks(rows.items), threads * sizeof(math::MeasureTotals)};
  }
};

struct ProbabilityBody {
  DeviceShares shares;
  double unit, shift, factor;
  int64_t items;
  double* out;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t i = thread.global; i < items; i += thread.total) {
      out[i] = (out[i] + shift * (shares(i) * unit)) * factor;
    }
  }

  Grid grid() const { return grid_for(items); }
};

// run(body) and run_blocks(body, grid); fetch(pointer) -> the value there, on the host;
// check(totals) refuses bad entries; memory: total_blocks(items) + 1. Whether all was 0.
template <typename T, typename Run, typename RunBlocks, typename Fetch, typename Check>
bool probability_bodies(MeasureArrays<T> rows, double floor, double relative_floor,
                        math::MeasureTotals* memory, const Run& run, const RunBlocks& run_blocks,
                        const Fetch& fetch, const Check& check) {
  const auto sums = [&](const auto& body) {
    const BlockGrid grid = body.grid();
    run_blocks(body, grid);
    const TotalBody<math::MeasureTotals> total{memory, grid.blocks, body.none(),
                                               memory + grid.blocks};
    run_blocks(total, total.grid());
    return fetch(total.to);
  };
  const bool wide = rows.norm && rows.columns == 4 && rows.column_stride == 1 &&
                    rows.row_stride * sizeof(T) % 16 == 0 && sixteen_aligned(rows.measure);
  const auto measure = [&] {
    return wide ? sums(MeasureBody<T, true>{rows, memory})
                : sums(MeasureBody<T, false>{rows, memory});
  };
  math::MeasureTotals totals = measure();
  check(totals);
  if (needs_scaling(totals, rows.power, floor)) {
    const Scaling scaled = scaling(totals, rows.power, floor, sizeof(T) == 8);
    rows.units = scaled.units;
    floor = scaled.floor;
    totals = measure();
  }
  const Normalisation n = normalisation(totals, floor, relative_floor);
  run(ProbabilityBody{rows.shares, rows.units.area, n.shift, n.factor, rows.items, rows.out});
  return n.uniform;
}

}  // namespace colloc
