// The argument checks of op importance_sample, shared by the CPU and the CUDA op.
#pragma once

#include <string>

#include "common/importance_measure.h"

namespace colloc {

inline math::DrawScheme check_draws(const Tensor& q, int64_t n, const Optional& area,
                                    const std::string& scheme, ScalarType dtype) {
  STD_TORCH_CHECK(q.scalar_type() == ScalarType::Double, "probabilities: expected float64, got ",
                  dtype_name(q.scalar_type()), ".");
  check_column("probabilities", q, q.dim() > 0 ? q.size(0) : 0);
  STD_TORCH_CHECK(q.size(0) > 0, "probabilities: expected at least one point, got ", shape_of(q),
                  ".");
  STD_TORCH_CHECK(n >= 0, "n: expected an integer >= 0, got ", n, ".");
  check_area(area, q);
  check_float("dtype", dtype);
  if (scheme == "multinomial") return math::DrawScheme::multinomial;
  if (scheme == "stratified") return math::DrawScheme::stratified;
  STD_TORCH_CHECK(scheme == "without_replacement",
                  "scheme: expected one of multinomial, stratified, without_replacement, got '",
                  scheme, "'.");
  return math::DrawScheme::without_replacement;
}

inline void check_totals(const math::PoolTotals& totals, math::DrawScheme scheme, int64_t n,
                         int64_t items) {
  refuse_bad("probabilities", "finite numbers >= 0", totals.bad, items, totals.first_bad);
  refuse_bad("area", "finite numbers >= 0", totals.bad_area, items, totals.first_bad_area);
  STD_TORCH_CHECK(totals.sum > 0.0, "probabilities: expected a sum > 0, got 0.");
  STD_TORCH_CHECK(totals.sum <= math::largest_double,
                  "probabilities: expected a finite sum, got an infinite one.");
  STD_TORCH_CHECK(totals.largest >= 1e-290 || totals.sum == 0.0,
                  "probabilities: expected a largest one of 1e-290 or more, got ", totals.largest,
                  ", which is too near to the smallest number. Divide them by their sum.");
  STD_TORCH_CHECK(totals.area >= 1e-290 && totals.area <= 1e290,
                  "area: expected a sum from 1e-290 to 1e290, got ", totals.area, ".");
  STD_TORCH_CHECK(scheme != math::DrawScheme::without_replacement || n <= totals.positive,
                  "n: expected at most ", totals.positive,
                  ", the number of points with a probability > 0, without replacement, got ", n,
                  ".");
}

}  // namespace colloc
