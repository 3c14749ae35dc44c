// Op importance_sample on the GPU. It waits for the sums over the pool, to refuse bad entries.
#include <torch/csrc/stable/library.h>

#include <tuple>

#include "common/box.h"
#include "common/importance_draws.h"
#include "cuda/importance_device.cuh"
#include "cuda/importance_sample_body.h"

namespace colloc {
namespace {

template <typename T>
void run(math::DrawScheme scheme, int64_t seed, const Tensor& q, const Optional& area, int64_t n,
         const Tensor& index, const Tensor& weight) {
  GpuDevice device(q);
  const SampleArrays<T> arrays{scheme,
                               static_cast<uint64_t>(seed),
                               static_cast<const double*>(q.const_data_ptr()),
                               shares_of(area),
                               q.size(0),
                               n,
                               static_cast<int64_t*>(index.mutable_data_ptr()),
                               static_cast<T*>(weight.mutable_data_ptr())};
  sample_bodies(arrays, device, [&](const math::PoolTotals& totals) {
    check_totals(totals, scheme, n, arrays.items);
  });
}

std::tuple<Tensor, Tensor> importance_sample(const Tensor& probabilities, int64_t n,
                                             const Optional& area, const std::string& scheme,
                                             int64_t seed, ScalarType dtype) {
  const math::DrawScheme chosen = check_draws(probabilities, n, area, scheme, dtype);
  const torch::stable::accelerator::DeviceGuard guard(probabilities.get_device_index());
  const Tensor q = torch::stable::contiguous(probabilities);
  const Optional shares = dense(area);
  Tensor index = torch::stable::empty({n}, ScalarType::Long, std::nullopt, q.device());
  Tensor weight = torch::stable::empty({n}, dtype, std::nullopt, q.device());
  if (dtype == ScalarType::Float) {
    run<float>(chosen, seed, q, shares, n, index, weight);
  } else {
    run<double>(chosen, seed, q, shares, n, index, weight);
  }
  return {index, weight};
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CUDA, m) {
  m.impl("importance_sample", COLLOC_BOX(&colloc::importance_sample));
}
