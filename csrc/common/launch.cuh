// Runs a body on the GPU, on torch's current stream of the device.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>
#include <torch/csrc/stable/tensor.h>

#include "common/thread_index.h"

namespace colloc {

template <typename Body>
__global__ void run_body(Body body) {
  body(ThreadIndex{static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x,
                   static_cast<int64_t>(gridDim.x) * blockDim.x});
}

inline cudaStream_t current_stream(int32_t device) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(device, &stream));
  return static_cast<cudaStream_t>(stream);
}

template <typename Body>
void launch(const Body& body, const Grid& grid, int32_t device) {
  run_body<<<static_cast<unsigned>(grid.blocks), grid.threads, 0, current_stream(device)>>>(body);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace colloc
