// Launches a block kernel (block_thread.h) on torch's current stream of the device.
#pragma once

#include "common/block_thread.h"
#include "common/launch.cuh"

namespace colloc {

template <typename Body>
__global__ void __launch_bounds__(Body::threads, Body::least_blocks)
    run_block_body(const __grid_constant__ Body body) {
  body(DeviceThread{});
}

template <typename Body>
void launch_blocks(const Body& body, const BlockGrid& grid, int32_t device) {
  // Above 48 KiB a kernel must ask, on every device anew; it costs under a microsecond.
  STD_CUDA_CHECK(cudaFuncSetAttribute(run_block_body<Body>,
                                      cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      static_cast<int>(grid.shared)));
  run_block_body<Body>
      <<<static_cast<unsigned>(grid.blocks), Body::threads, grid.shared, current_stream(device)>>>(
          body);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

inline int multiprocessors(int32_t device) {
  int count = 0;
  STD_CUDA_CHECK(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

}  // namespace colloc
