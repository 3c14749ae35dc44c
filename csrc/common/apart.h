// For a static member function that stays a function of its own: where a kernel's rare path takes
// many registers, they must not be the kernel's.
#pragma once

#if defined(__CUDACC__)
#define COLLOC_APART __host__ __device__ __noinline__
#else
#define COLLOC_APART __attribute__((noinline))
#endif
