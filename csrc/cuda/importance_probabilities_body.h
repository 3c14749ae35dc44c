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
  static constexpr int together = 2;  // items that are loaded before any work
  static constexpr int64_t tile = threads * together;

  MeasureArrays<T> rows;
  math::MeasureTotals* totals;  // a block

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& t) const {
    Sums sum{0.0, 0.0, 0.0, 0.0};
    auto& own = reinterpret_cast<math::MeasureTotals*>(t.shared())[t.thread()];
    own = none();
    for (int64_t first = t.block() * tile; first < rows.items; first += t.blocks() * tile) {
      Loaded loaded[together];
#pragma unroll
      for (int k = 0; k < together; ++k) {
        const int64_t i = first + k * threads + t.thread();
        if (i < rows.items) loaded[k] = load(t, i);
      }
#pragma unroll
      for (int k = 0; k < together; ++k) {
        const int64_t i = first + k * threads + t.thread();
        if (i < rows.items) add_item(sum, own, i, loaded[k]);
      }
    }
    own.weighted = sum.weighted;
    own.area = sum.area;
    own.largest = sum.largest;
    own.largest_area = sum.largest_area;
    const math::MeasureTotals all = block_total(t, own);
    if (t.thread() == 0) totals[t.block()] = all;
  }

  COLLOC_HD_MEMBER math::MeasureTotals none() const {
    return {0.0, 0.0, 0.0, 0.0, 0, rows.items, 0, rows.items};
  }

  struct Loaded {
    T row[Wide ? 4 : 1];  // unless it is a norm of other rows
    DeviceShares::Loaded share;
  };

  template <typename Thread>
  COLLOC_BLOCK Loaded load(const Thread& t, int64_t i) const {
    Loaded loaded{};
    const T* row = rows.measure + i * rows.row_stride;
    if constexpr (Wide && sizeof(T) == 4) {
      t.load4_once(loaded.row, row);
    } else if constexpr (Wide) {
      load_row(loaded.row, row, true);
    } else {
      if (!rows.norm) loaded.row[0] = row[0];
    }
    loaded.share = rows.shares.load(i);
    return loaded;
  }

  COLLOC_HD_MEMBER double measure(int64_t i, const Loaded& loaded) const {
    const double unit = rows.units.entry;
    if constexpr (Wide) {
      return math::row_measure(loaded.row, 1, 4, true, unit);
    } else {
      if (!rows.norm) return static_cast<double>(loaded.row[0]) * unit;
      return math::row_measure(rows.measure + i * rows.row_stride, rows.column_stride, rows.columns,
                               true, unit);
    }
  }

  struct Sums {
    double weighted, area, largest, largest_area;
  };

  // What is bad goes to `bad`, in shared memory: it is rare, and takes no registers there.
  COLLOC_HD_MEMBER void add_item(Sums& sum, math::MeasureTotals& bad, int64_t i,
                                 const Loaded& loaded) const {
    const math::MeasureUnits& units = rows.units;
    const double m = measure(i, loaded);
    const double a = rows.shares.value(loaded.share) * units.area;
    const double raised = rows.power == 1.0
                              ? m * units.measure
                              : math::nonnegative_power(m * units.measure, rows.power);
    // A point without a share may have overflown in units made for the others.
    const double product = a > 0.0 ? raised * units.powered * a : 0.0;
    rows.out[i] = product;
    sum.weighted += product;
    sum.area += a;
    if (a > 0.0 && m > sum.largest) sum.largest = m;
    if (a > sum.largest_area) sum.largest_area = a;
    if (!math::finite_nonnegative(m)) {
      ++bad.bad;
      if (i < bad.first_bad) bad.first_bad = i;
    }
    if (!math::finite_nonnegative(a)) {
      ++bad.bad_area;
      if (i < bad.first_bad_area) bad.first_bad_area = i;
    }
  }

  BlockGrid grid() const {
    const int64_t most = total_blocks(rows.items), held = 132 * least_blocks;
    return {most < held ? most : held, threads * sizeof(math::MeasureTotals)};
  }
};

struct MeasureSums {
  math::MeasureTotals totals;
  Normalisation normal;
};

// The sum over the pool and what follows from it, for the next kernel and for the host.
struct MeasureTotalBody {
  static constexpr int threads = 256, least_blocks = 1;

  const math::MeasureTotals* from;
  int64_t count;
  math::MeasureTotals none;
  double floor, relative_floor;
  MeasureSums *to, *host;

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& t) const {
    const math::MeasureTotals all = sum_of_blocks(t, from, count, none);
    if (t.thread() != 0) return;
    const MeasureSums sums{all, normalisation(all, floor, relative_floor)};
    *to = sums;
    *host = sums;
  }

  BlockGrid grid() const { return {1, threads * sizeof(math::MeasureTotals)}; }
};

// From the last items, which were written last, to the first.
struct ProbabilityBody {
  static constexpr int threads = 256, together = 4;
  static constexpr int64_t tile = threads * together;  // in pairs

  DeviceShares shares;
  double unit;
  const MeasureSums* sums;
  int64_t items;
  double* out;
  bool paired;  // pairs may be loaded at once

  struct Loaded {
    Sixteen<double> product;
    DeviceShares::LoadedPair share;
  };

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    const Normalisation n = sums->normal;
    const int64_t pairs = paired ? items / 2 : 0;
    const int64_t tiles = (pairs + tile - 1) / tile;
    for (int64_t b = thread.global / threads; b < tiles; b += thread.total / threads) {
      const int64_t first = (tiles - 1 - b) * tile + thread.global % threads;
      Loaded loaded[together];
#pragma unroll
      for (int k = 0; k < together; ++k) {
        const int64_t p = first + k * threads;
        if (p < pairs) {
          loaded[k] = {*reinterpret_cast<const Sixteen<double>*>(out + 2 * p),
                       shares.load_pair(2 * p)};
        }
      }
#pragma unroll
      for (int k = 0; k < together; ++k) {
        const int64_t p = first + k * threads;
        if (p < pairs) {
          Sixteen<double> q;
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            q.values[e] = value(n, loaded[k].product.values[e], shares.value(loaded[k].share, e));
          }
          *reinterpret_cast<Sixteen<double>*>(out + 2 * p) = q;
        }
      }
    }
    for (int64_t i = 2 * pairs + thread.global; i < items; i += thread.total) {
      out[i] = value(n, out[i], shares(i));
    }
  }

  COLLOC_HD_MEMBER double value(const Normalisation& n, double product, double share) const {
    return (product + n.shift * (share * unit)) * n.factor;
  }

  Grid grid() const { return grid_for((items + 7) / 8, int64_t(1) << 30, threads); }
};

// `device`: run(body), run_blocks(body, grid), take<X>(count), with_host<X>(), mark() and
// received(pointer) as in importance_sample_body.h. check(totals) refuses bad entries. Whether all
// was 0.
template <typename T, typename Device, typename Check>
bool probability_bodies(MeasureArrays<T> rows, double floor, double relative_floor, Device& device,
                        const Check& check) {
  auto* memory = device.template take<math::MeasureTotals>(total_blocks(rows.items));
  auto* to = device.template take<MeasureSums>(1);
  auto* host = device.template with_host<MeasureSums>();
  const bool wide = rows.norm && rows.columns == 4 && rows.column_stride == 1 &&
                    rows.row_stride * sizeof(T) % 16 == 0 && sixteen_aligned(rows.measure);
  const auto sums = [&](const auto& body) {
    const BlockGrid grid = body.grid();
    device.run_blocks(body, grid);
    const MeasureTotalBody total{memory, grid.blocks, body.none(), floor, relative_floor, to, host};
    device.run_blocks(total, total.grid());
  };
  // All is launched before the sums are looked at.
  const auto made = [&] {
    if (wide) {
      sums(MeasureBody<T, true>{rows, memory});
    } else {
      sums(MeasureBody<T, false>{rows, memory});
    }
    device.mark();
    device.run(ProbabilityBody{rows.shares, rows.units.area, to, rows.items, rows.out,
                               sixteen_aligned(rows.out) && rows.shares.paired()});
    return device.received(host);
  };
  MeasureSums found = made();
  check(found.totals);
  if (needs_scaling(found.totals, rows.power, floor)) {
    const Scaling scaled = scaling(found.totals, rows.power, floor, sizeof(T) == 8);
    rows.units = scaled.units;
    floor = scaled.floor;
    found = made();
  }
  return found.normal.uniform;
}

}  // namespace colloc
