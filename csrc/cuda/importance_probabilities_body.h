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

template <typename T>
struct MeasureBody {
  MeasureArrays<T> rows;
  int64_t parts;
  math::MeasureTotals* totals;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t p = thread.global; p < parts; p += thread.total) {
      math::MeasureTotals sum{0.0, 0.0, 0.0, 0.0, 0, rows.items, 0, rows.items};
      for (int64_t i = p; i < rows.items; i += parts) math::add(sum, item(i));
      totals[p] = sum;
    }
  }

  COLLOC_HD_MEMBER math::MeasureTotals item(int64_t i) const {
    const math::MeasureUnits& units = rows.units;
    const double m = math::row_measure(rows.measure + i * rows.row_stride, rows.column_stride,
                                       rows.columns, rows.norm, units.entry);
    const double a = rows.shares(i) * units.area;
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

  Grid grid() const { return grid_for(parts); }
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

// run(body); fetch(pointer) -> the value there, on the host; check(totals) refuses bad entries;
// memory: gather_memory(parts_of(items)). Whether all was 0.
template <typename T, typename Run, typename Fetch, typename Check>
bool probability_bodies(MeasureArrays<T> rows, double floor, double relative_floor,
                        math::MeasureTotals* memory, const Run& run, const Fetch& fetch,
                        const Check& check) {
  const int64_t parts = parts_of(rows.items);
  const auto measure = [&] {
    run(MeasureBody<T>{rows, parts, memory});
    return fetch(gather(memory, parts, run));
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
