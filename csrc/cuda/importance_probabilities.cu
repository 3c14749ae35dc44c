// Op importance_probabilities on the GPU. It waits for the sums, to refuse bad entries.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "common/box.h"
#include "common/importance_measure.h"
#include "cuda/importance_device.cuh"
#include "cuda/importance_probabilities_body.h"

namespace colloc {
namespace {

template <typename T>
bool run(const Tensor& measure, const Optional& area, bool norm, double power, double floor,
         double relative_floor, const Tensor& out) {
  const bool table = measure.dim() == 2;
  const int64_t items = measure.size(0);
  const MeasureArrays<T> rows{static_cast<const T*>(measure.const_data_ptr()),
                              measure.stride(0),
                              table ? measure.stride(1) : 1,
                              table ? measure.size(1) : 1,
                              norm,
                              power,
                              {},
                              shares_of(area),
                              items,
                              static_cast<double*>(out.mutable_data_ptr())};
  GpuDevice device(measure);
  return probability_bodies(
      rows, floor, relative_floor, device,
      [&](const math::MeasureTotals& totals) { check_totals(totals, norm, items); });
}

std::tuple<Tensor, Tensor> probabilities(const Tensor& measure, const Optional& area, bool norm,
                                         double power, double floor, double relative_floor) {
  check_measure(measure, area, norm, power, floor, relative_floor);
  const torch::stable::accelerator::DeviceGuard guard(measure.get_device_index());
  const Optional shares = dense(area);
  Tensor out =
      torch::stable::empty({measure.size(0)}, ScalarType::Double, std::nullopt, measure.device());
  const torch::stable::Device cpu(torch::headeronly::DeviceType::CPU);
  Tensor uniform = torch::stable::empty({}, ScalarType::Bool, std::nullopt, cpu);
  const bool single = measure.scalar_type() == ScalarType::Float;
  *static_cast<bool*>(uniform.mutable_data_ptr()) =
      single ? run<float>(measure, shares, norm, power, floor, relative_floor, out)
             : run<double>(measure, shares, norm, power, floor, relative_floor, out);
  return {out, uniform};
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CUDA, m) {
  m.impl("importance_probabilities", COLLOC_BOX(&colloc::probabilities));
}
