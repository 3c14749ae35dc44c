// The vectorised loops, one set per instruction set. This header and the files that implement it
// are compiled with the flags of that set: project headers, <cmath> and <cstdint> alone, so that
// no shared inline function is ever compiled for a processor that may not be there.
#pragma once

#include <cstdint>

#include "math/activation.h"
#include "math/halton.h"

namespace colloc {

// One axis of the sequence: its low digits are looked up, the others reversed once a period.
struct HaltonTable {
  math::HaltonAxis axis;
  uint64_t period;  // base^low_digits, the table's length; 1: no table
  int32_t low_digits;
  const double* reversed;  // numerator of the low digits of 0 .. period-1; null: no table
};

// Points begin .. end-1 (of index start + leap * point) into rows of out, (end - begin, dim).
template <typename T>
using HaltonKernel = void (*)(const HaltonTable* tables, int64_t dim, uint64_t start, uint64_t leap,
                              int64_t begin, int64_t end, T* out);

// y = f^(order)(slope x); slope and beta repeat every `width` elements.
template <typename T>
using ActivationForward = void (*)(const T* x, int64_t count, int64_t width, const T* slope,
                                   const T* beta, T* y);

// grad_x = grad slope f^(order+1)(slope x); adds grad x f^(order+1) to sum_a (width) and the
// derivative by beta to sum_beta (width).
template <typename T>
using ActivationBackward = void (*)(const T* grad, const T* x, int64_t count, int64_t width,
                                    const T* slope, const T* beta, T* grad_x, T* sum_a,
                                    T* sum_beta);

template <typename T>
struct ActivationKernels {
  ActivationForward<T> forward[math::kind_count][math::max_activation_order + 1];
  ActivationBackward<T> backward[math::kind_count][math::max_activation_order];
};

#define COLLOC_DECLARE_KERNELS(capability)                  \
  namespace capability {                                    \
  extern const HaltonKernel<float> halton_float;            \
  extern const HaltonKernel<double> halton_double;          \
  extern const ActivationKernels<float> activation_float;   \
  extern const ActivationKernels<double> activation_double; \
  }

COLLOC_DECLARE_KERNELS(baseline)
COLLOC_DECLARE_KERNELS(avx2)
COLLOC_DECLARE_KERNELS(avx512)

}  // namespace colloc
