// What a kernel whose threads work together sees of the machine: a `Thread` that knows its place
// in the block and has the block's shared memory, barriers and matrix products.
//
// Such a kernel is a struct with `static constexpr int threads, least_blocks` (per multiprocessor)
// and `template <typename Thread> COLLOC_BLOCK void operator()(const Thread&) const`. On the GPU
// it is launched by block_launch.cuh with a DeviceThread, in tests by host_block.h with a fiber for
// every thread of a block.
//
// Fragments of a product c += a b of 16 x 16 by 16 x 8, g = lane / 4 and t = lane % 4; a word of a
// and b has two halves (float16), the second one column of a, or row of b, further:
//   a (16 x 16): (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8);
//   b (16 x 8): (2t, g), (2t + 8, g);
//   c (16 x 8), float: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
#pragma once

#include <cstddef>
#include <cstdint>

#include "math/elementary.h"

#if defined(__CUDACC__)
#define COLLOC_BLOCK __device__ __forceinline__
// Before loops that must be unrolled, so that arrays are registers, and ones that must not.
#define COLLOC_UNROLL _Pragma("unroll")
#define COLLOC_ROLLED _Pragma("unroll 1")
#else
#define COLLOC_BLOCK inline
#define COLLOC_UNROLL
#define COLLOC_ROLLED
#endif

namespace colloc {

// How a block kernel is launched.
struct BlockGrid {
  int64_t blocks;
  size_t shared;  // bytes of dynamic shared memory of a block
};

constexpr int warp_size = 32;

#if defined(__CUDACC__)

// Inline functions over PTX of compute capability 8.0.
struct DeviceThread {
  __device__ __forceinline__ int thread() const { return static_cast<int>(threadIdx.x); }
  __device__ __forceinline__ int threads() const { return static_cast<int>(blockDim.x); }
  __device__ __forceinline__ int64_t block() const { return blockIdx.x; }
  __device__ __forceinline__ int64_t blocks() const { return gridDim.x; }
  __device__ __forceinline__ int lane() const { return thread() % warp_size; }
  __device__ __forceinline__ int warp() const { return thread() / warp_size; }

  // 16-byte aligned.
  __device__ __forceinline__ float* shared() const {
    extern __shared__ float4 colloc_block_memory[];
    return reinterpret_cast<float*>(colloc_block_memory);
  }

  __device__ __forceinline__ void sync() const { __syncthreads(); }
  __device__ __forceinline__ void sync_warp() const { __syncwarp(); }
  // Barriers 1 to 15, for some of the block's warps, `count` threads in all. Those that arrive do
  // not wait for the others.
  __device__ __forceinline__ void sync(int barrier, int count) const {
    asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(count) : "memory");
  }
  __device__ __forceinline__ void arrive(int barrier, int count) const {
    asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(count) : "memory");
  }

  // c += a b, or c = a b where it is `Fresh`. Exact products, whose sums are cut off.
  template <bool Fresh>
  __device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                      uint32_t b1) const {
    if constexpr (Fresh) {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
          "{%4, %5, %6, %7}, {%8, %9}, {%10, %10, %10, %10};"
          : "=f"(c[0]), "=f"(c[1]), "=f"(c[2]), "=f"(c[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(0.0f));
    } else {
      asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
          "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
          : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
          : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
  }

  // Two numbers rounded to halves, and back.
  __device__ __forceinline__ uint32_t to_halves(float first, float second) const {
    uint32_t bits;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(second), "f"(first));
    return bits;
  }
  __device__ __forceinline__ void from_halves(uint32_t bits, float& first, float& second) const {
    asm("{\n.reg .b16 low, high;\nmov.b32 {low, high}, %2;\ncvt.f32.f16 %0, low;\n"
        "cvt.f32.f16 %1, high;\n}"
        : "=f"(first), "=f"(second)
        : "r"(bits));
  }

  // The largest of all lanes.
  __device__ __forceinline__ uint32_t reduce_max(uint32_t x) const {
    return __reduce_max_sync(0xffffffffu, x);
  }

  __device__ __forceinline__ float shuffle_xor(float x, int mask) const {
    return __shfl_xor_sync(0xffffffffu, x, mask);
  }

  // Lane i gives the address of row i % 8 of matrix i / 8, 16 bytes of shared memory, and gets
  // word lane % 4 of row lane / 4 of each of the four matrices.
  __device__ __forceinline__ void load_matrix(uint32_t (&to)[4], const float* row) const {
    const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  }
  // The same with each matrix, of 8 x 8 halves, transposed.
  __device__ __forceinline__ void load_transposed(uint32_t (&to)[4], const float* row) const {
    const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
  }

  // 16 bytes, there after the wait for the group that the next commit closes.
  __device__ __forceinline__ void copy_async(float* shared, const float* global) const {
    const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(global)
                 : "memory");
  }
  __device__ __forceinline__ void commit_async() const {
    asm volatile("cp.async.commit_group;" ::: "memory");
  }
  // Until at most the last `Left` of this thread's groups are under way.
  template <int Left>
  __device__ __forceinline__ void wait_async() const {
    asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
  }

  // Global memory that no thread of this launch writes.
  __device__ __forceinline__ float load(const float* from) const { return __ldg(from); }
  __device__ __forceinline__ void load2(float (&to)[2], const float* from) const {
    const float2 v = __ldg(reinterpret_cast<const float2*>(from));
    to[0] = v.x, to[1] = v.y;
  }
  __device__ __forceinline__ void load4(float (&to)[4], const float* from) const {
    const float4 v = __ldg(reinterpret_cast<const float4*>(from));
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  }
  // Global memory that is read once: past the first cache.
  __device__ __forceinline__ void load4_once(float (&to)[4], const float* from) const {
    const float4 v = __ldcs(reinterpret_cast<const float4*>(from));
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  }
  // Brings it into the second cache.
  __device__ __forceinline__ void prefetch(const float* from) const {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(from));
  }
  // Global memory that is not read soon.
  __device__ __forceinline__ void store4(float* to, const float (&v)[4]) const {
    __stcs(reinterpret_cast<float4*>(to), make_float4(v[0], v[1], v[2], v[3]));
  }
  // Shared memory.
  __device__ __forceinline__ void read2(float (&to)[2], const float* from) const {
    const float2 v = *reinterpret_cast<const float2*>(from);
    to[0] = v.x, to[1] = v.y;
  }
  __device__ __forceinline__ void read4(float (&to)[4], const float* from) const {
    const float4 v = *reinterpret_cast<const float4*>(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  }
  __device__ __forceinline__ void write2(float* to, float a, float b) const {
    *reinterpret_cast<float2*>(to) = make_float2(a, b);
  }
  __device__ __forceinline__ void write4(float* to, const float (&v)[4]) const {
    *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
  }
};

#endif

}  // namespace colloc
