// Op halton on the GPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "common/block_launch.cuh"
#include "common/box.h"
#include "common/halton_axes.h"
#include "common/launch.cuh"
#include "cuda/halton_body.h"

namespace colloc {
namespace {

Tensor halton(int64_t n, int64_t dim, int64_t start, int64_t leap, std::optional<int64_t> seed,
              ScalarType dtype, torch::stable::Device device) {
  const auto axes = halton_axes(n, dim, start, leap, seed, dtype);
  Tensor out = torch::stable::empty({n, dim}, dtype, std::nullopt, device);
  if (n == 0) return out;
  const int32_t index = out.get_device_index();
  const torch::stable::accelerator::DeviceGuard guard(index);
  const auto run = [&](const auto& body) { launch(body, body.grid(), index); };
  const auto run_blocks = [&](const auto& body, const BlockGrid& grid) {
    launch_blocks(body, grid, index);
  };
  const auto fill = [&](auto* data) {
    halton_bodies(axes, n, dim, start, leap, data, run, run_blocks);
  };
  if (dtype == ScalarType::Float) {
    fill(static_cast<float*>(out.mutable_data_ptr()));
  } else {
    fill(static_cast<double*>(out.mutable_data_ptr()));
  }
  return out;
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CUDA, m) { m.impl("halton", COLLOC_BOX(&colloc::halton)); }
