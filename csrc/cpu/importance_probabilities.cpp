// Op importance_probabilities on the CPU: a pass that sums, and one that divides.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <tuple>
#include <vector>

#include "common/box.h"
#include "common/importance_measure.h"
#include "common/importance_plan.h"
#include "cpu/select.h"
#include "cpu/shares.h"

namespace colloc {
namespace {

// Sums do not depend on the number of threads: each is that of such a chunk, added in their order.
constexpr int64_t chunk = 4096;

template <typename T>
math::MeasureTotals measure_all(MeasureKernel<T> kernel, const MeasureRows<T>& rows,
                                int64_t items) {
  const int64_t chunks = (items + chunk - 1) / chunk;
  std::vector<math::MeasureTotals> parts(chunks);
  torch::stable::parallel_for(0, chunks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      parts[c] = kernel(rows, c * chunk, std::min(items, (c + 1) * chunk));
    }
  });
  math::MeasureTotals totals = parts[0];
  for (int64_t c = 1; c < chunks; ++c) math::add(totals, parts[c]);
  return totals;
}

template <typename T>
bool run(MeasureKernel<T> kernel, MeasureRows<T> rows, double floor, double relative_floor,
         int64_t items) {
  math::MeasureTotals totals = measure_all(kernel, rows, items);
  check_totals(totals, rows.norm, items);
  if (needs_scaling(totals, rows.power, floor)) {
    const Scaling scaled = scaling(totals, rows.power, floor, sizeof(T) == 8);
    rows.units = scaled.units;
    floor = scaled.floor;
    totals = measure_all(kernel, rows, items);
  }
  const Normalisation n = normalisation(totals, floor, relative_floor);
  const ProbabilityKernel normalise = COLLOC_SELECT(probability);
  torch::stable::parallel_for(0, items, 4 * chunk, [&](int64_t begin, int64_t end) {
    normalise(rows.shares, rows.units.area, n.shift, n.factor, begin, end, rows.out);
  });
  return n.uniform;
}

template <typename T>
MeasureRows<T> rows_of(const Tensor& measure, const Optional& area, bool norm, double power,
                       const Tensor& out) {
  const bool table = measure.dim() == 2;
  return {static_cast<const T*>(measure.const_data_ptr()),
          measure.stride(0),
          table ? measure.stride(1) : 1,
          table ? measure.size(1) : 1,
          norm,
          power,
          {},
          shares_of(area),
          static_cast<double*>(out.mutable_data_ptr())};
}

std::tuple<Tensor, Tensor> probabilities(const Tensor& measure, const Optional& area, bool norm,
                                         double power, double floor, double relative_floor) {
  check_measure(measure, area, norm, power, floor, relative_floor);
  const Optional shares = dense(area);
  const int64_t items = measure.size(0);
  Tensor out = torch::stable::empty({items}, ScalarType::Double, std::nullopt, measure.device());
  Tensor uniform = torch::stable::empty({}, ScalarType::Bool, std::nullopt, measure.device());
  *static_cast<bool*>(uniform.mutable_data_ptr()) =
      measure.scalar_type() == ScalarType::Float
          ? run(COLLOC_SELECT(measure_float), rows_of<float>(measure, shares, norm, power, out),
                floor, relative_floor, items)
          : run(COLLOC_SELECT(measure_double), rows_of<double>(measure, shares, norm, power, out),
                floor, relative_floor, items);
  return {out, uniform};
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CPU, m) {
  m.impl("importance_probabilities", COLLOC_BOX(&colloc::probabilities));
}
