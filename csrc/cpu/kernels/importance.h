// The vectorised loops of importance sampling; the rules are those of kernels.h.
#pragma once

#include <cstdint>

#include "math/importance.h"

namespace colloc {

// Shares of area, contiguous, in either precision; both null: 1 each.
struct Shares {
  const float* single;
  const double* wide;
};

// The first pass over the pool leaves measure^power times area in out, the second one divides.
template <typename T>
struct MeasureRows {
  const T* measure;
  int64_t row_stride, column_stride, columns;
  bool norm;  // else columns is 1
  double power;
  math::MeasureUnits units;
  Shares shares;
  double* out;
};

template <typename T>
using MeasureKernel = math::MeasureTotals (*)(const MeasureRows<T>& rows, int64_t begin,
                                              int64_t end);
// out = (out + shift unit a) factor
using ProbabilityKernel = void (*)(Shares shares, double unit, double shift, double factor,
                                   int64_t begin, int64_t end, double* out);

// Items whose prefix sums are made at once, in the first cache.
constexpr int64_t pool_chunk = 1024;

using PoolTotalsKernel = math::PoolTotals (*)(const double* q, Shares shares, int64_t begin,
                                              int64_t end);
// Of the items below the limit the sum, of the others the number.
using CertainKernel = math::Certain (*)(const double* q, double limit, int64_t begin, int64_t end);

struct Draws {
  math::DrawScheme scheme;
  math::DrawKeys keys;
  const double* q;
  int64_t items;
  double limit;          // items with q >= limit count as 0
  const double* starts;  // the sum before each chunk, and that of all; ascending
  int64_t chunks;
  int64_t n;
  const double* times;  // multinomial: each block's beginning, and the end of all
  int64_t* index;
};

// The draws of the blocks begin .. end-1.
using DrawKernel = void (*)(const Draws& draws, int64_t begin, int64_t end);

template <typename T>
using WeightKernel = void (*)(const math::WeightFormula& formula, const double* q, Shares shares,
                              const int64_t* index, int64_t count, T* weight);

#define COLLOC_DECLARE_IMPORTANCE_KERNELS(capability) \
  namespace capability {                              \
  extern const MeasureKernel<float> measure_float;    \
  extern const MeasureKernel<double> measure_double;  \
  extern const ProbabilityKernel probability;         \
  extern const PoolTotalsKernel pool_totals;          \
  extern const CertainKernel certain;                 \
  extern const DrawKernel draw;                       \
  extern const WeightKernel<float> weight_float;      \
  extern const WeightKernel<double> weight_double;    \
  }

COLLOC_DECLARE_IMPORTANCE_KERNELS(baseline)
COLLOC_DECLARE_IMPORTANCE_KERNELS(avx2)
COLLOC_DECLARE_IMPORTANCE_KERNELS(avx512)

}  // namespace colloc
