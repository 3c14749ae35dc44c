// The argument checks of op importance_probabilities, shared by the CPU and the CUDA op.
#pragma once

#include "common/check.h"
#include "common/optional_tensor.h"
#include "math/importance.h"

namespace colloc {

// A column: (N,) or (N, 1).
inline void check_column(const char* name, const Tensor& t, int64_t items) {
  check_float(name, t.scalar_type());
  STD_TORCH_CHECK(t.dim() == 1 || (t.dim() == 2 && t.size(1) == 1), name,
                  ": expected shape (N,) or (N, 1), got ", shape_of(t), ".");
  STD_TORCH_CHECK(t.size(0) == items, name, ": expected ", items,
                  " numbers, one for each point of ", "the pool, got ", shape_of(t), ".");
}

inline void check_area(const Optional& area, const Tensor& pool) {
  if (!area) return;
  check_column("area", *area, pool.size(0));
  STD_TORCH_CHECK(area->device() == pool.device(),
                  "area: expected the device of the pool, got another one.");
}

inline void check_measure(const Tensor& measure, const Optional& area, bool norm, double power,
                          double floor, double relative_floor) {
  if (norm) {
    check_float("measure", measure.scalar_type());
    STD_TORCH_CHECK(measure.dim() == 2 && measure.size(1) >= 1,
                    "measure: expected rows (N, C) where their norm is taken, got ",
                    shape_of(measure), ".");
  } else {
    check_column("measure", measure, measure.dim() > 0 ? measure.size(0) : 0);
  }
  STD_TORCH_CHECK(measure.size(0) > 0, "measure: expected at least one point, got ",
                  shape_of(measure), ".");
  check_area(area, measure);
  STD_TORCH_CHECK(power >= 0.0 && power <= 100.0, "power: expected a number from 0 to 100, got ",
                  power, ".");
  STD_TORCH_CHECK(math::finite_nonnegative(floor), "floor: expected a finite number >= 0, got ",
                  floor, ".");
  STD_TORCH_CHECK(math::finite_nonnegative(relative_floor),
                  "relative_floor: expected a finite number >= 0, got ", relative_floor, ".");
}

inline void refuse_bad(const char* name, const char* what, int64_t bad, int64_t items,
                       int64_t first) {
  STD_TORCH_CHECK(bad == 0, name, ": expected ", what, ", got ", bad, " of ", items,
                  " that are not, the first at index ", first, ".");
}

inline void check_totals(const math::MeasureTotals& totals, bool norm, int64_t items) {
  refuse_bad("measure", norm ? "rows of finite numbers" : "finite numbers >= 0", totals.bad, items,
             totals.first_bad);
  refuse_bad("area", "finite numbers >= 0", totals.bad_area, items, totals.first_bad_area);
  STD_TORCH_CHECK(totals.largest_area > 0.0, "area: expected a sum > 0, got 0.");
}

}  // namespace colloc
