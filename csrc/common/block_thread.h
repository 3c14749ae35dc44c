// What a kernel whose threads work together sees of the machine: a `Thread` that knows its place
// in the block and has the block's shared memory, barriers and matrix products.
//
// Such a kernel is a struct with `static constexpr int threads, least_blocks` (per multiprocessor)
// and `template <typename Thread> COLLOC_BLOCK void operator()(const Thread&) const`. On the GPU
// it is launched by block_launch.cuh with a DeviceThread, in tests by host_block.h with a fiber for
// every thread of a block.
//
// Fragments of a product c += a b of 16 x 8 x 8, g = lane / 4 and t = lane % 4:
//   a (16 x 8): (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4);
//   b (8 x 8): (t, g), (t + 4, g);  c (16 x 8): (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
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

  // c += a b; of the operands' bits the tensor cores read the sign, exponent and 10 of the
  // fraction.
  __device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4],
                                      const uint32_t (&b)[2]) const {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, "
        "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }

  // Rounded to the nearest number with 10 bits of fraction; the bits after them are 0.
  __device__ __forceinline__ uint32_t to_tf32(float x) const {
    uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
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
