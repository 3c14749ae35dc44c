// A CUDA kernel here is a struct with a call operator on a ThreadIndex: the same body runs on
// the GPU (launch.cuh) and, with the same grid, in a loop on the host (host_launch.h), where
// tests check its indexing and bounds without a GPU.
#pragma once

#include <cstdint>

#include "math/host_device.h"

namespace colloc {

struct Grid {
  int64_t blocks;
  int32_t threads;  // a block

  int64_t size() const { return blocks * threads; }
};

struct ThreadIndex {
  int64_t global;  // block * threads + thread
  int64_t total;   // threads in the whole grid
};

// Enough threads for one item each, at most `most` blocks (bodies loop over the rest).
inline Grid grid_for(int64_t items, int64_t most = 132 * 16, int32_t threads = 256) {
  const int64_t wanted = (items + threads - 1) / threads;
  return {wanted < 1 ? 1 : (wanted < most ? wanted : most), threads};
}

}  // namespace colloc
