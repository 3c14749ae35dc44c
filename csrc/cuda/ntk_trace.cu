// Op ntk_trace on the GPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "common/block_launch.cuh"
#include "common/box.h"
#include "common/ntk_arguments.h"
#include "cuda/ntk_trace_body.h"

namespace colloc {
namespace {

template <typename T>
void run(const NtkArguments& a, const Tensor& h, const Tensor& zbar, const Tensor& squares) {
  const NtkTraceArrays<T> arrays{a.points,
                                 a.size,
                                 a.in,
                                 a.out,
                                 static_cast<const T*>(h.const_data_ptr()),
                                 static_cast<const T*>(zbar.const_data_ptr()),
                                 static_cast<double*>(squares.mutable_data_ptr())};
  const int32_t index = h.get_device_index();
  ntk_trace_body(
      arrays, [&](const auto& body, const BlockGrid& grid) { launch_blocks(body, grid, index); });
}

Tensor ntk_trace(const Tensor& h, const Tensor& zbar) {
  const NtkArguments a = check_ntk("h", h, "zbar", zbar);
  const torch::stable::accelerator::DeviceGuard guard(h.get_device_index());
  const Tensor inputs = torch::stable::contiguous(h), gradients = torch::stable::contiguous(zbar);
  const Tensor squares = torch::stable::new_empty(h, {a.points}, ScalarType::Double);
  if (a.points == 0) return squares;
  if (h.scalar_type() == ScalarType::Float) {
    run<float>(a, inputs, gradients, squares);
  } else {
    run<double>(a, inputs, gradients, squares);
  }
  return squares;
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CUDA, m) { m.impl("ntk_trace", COLLOC_BOX(&colloc::ntk_trace)); }
