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

// Several neighbours in memory at once: in loads and stores of 16 bytes where the address is a
// multiple of these.
template <typename T>
struct alignas(16) Sixteen {
  T values[16 / sizeof(T)];
};

// The compiler may not move a load past a store, so all loads of an iteration come first.
template <int Count, typename T>
COLLOC_HD void load_row(T (&to)[Count], const T* from, bool aligned) {
  constexpr int each = 16 / sizeof(T);
#if defined(__CUDA_ARCH__)
  if constexpr (Count % each == 0) {
    if (aligned) {
#pragma unroll
      for (int i = 0; i < Count; i += each) {
        const Sixteen<T> part = *reinterpret_cast<const Sixteen<T>*>(from + i);
#pragma unroll
        for (int k = 0; k < each; ++k) to[i + k] = part.values[k];
      }
      return;
    }
  }
#else
  static_cast<void>(each);
  static_cast<void>(aligned);
#endif
  for (int i = 0; i < Count; ++i) to[i] = from[i];
}

template <int Count, typename T>
COLLOC_HD void store_row(T* to, const T (&from)[Count], bool aligned) {
  constexpr int each = 16 / sizeof(T);
#if defined(__CUDA_ARCH__)
  if constexpr (Count % each == 0) {
    if (aligned) {
#pragma unroll
      for (int i = 0; i < Count; i += each) {
        Sixteen<T> part;
#pragma unroll
        for (int k = 0; k < each; ++k) part.values[k] = from[i + k];
        *reinterpret_cast<Sixteen<T>*>(to + i) = part;
      }
      return;
    }
  }
#else
  static_cast<void>(each);
  static_cast<void>(aligned);
#endif
  for (int i = 0; i < Count; ++i) to[i] = from[i];
}

// Whether loads and stores of 16 bytes may be used.
inline bool sixteen_aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

}  // namespace colloc
