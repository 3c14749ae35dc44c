// The one macro that lets a function run on the CPU and on the GPU.
//
// Everything in csrc/math is forced inline and static: the CPU kernels are compiled once per
// instruction set, and a shared inline function compiled for AVX-512 must never be the one
// that the linker keeps for the baseline.
#pragma once

#if defined(__CUDACC__)
#define COLLOC_HD static __host__ __device__ __forceinline__
#define COLLOC_HD_MEMBER __host__ __device__ __forceinline__
#else
#define COLLOC_HD [[maybe_unused]] static inline __attribute__((always_inline))
#define COLLOC_HD_MEMBER inline __attribute__((always_inline))
#endif
