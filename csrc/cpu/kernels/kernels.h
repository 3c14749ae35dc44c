// The vectorised loops, one set per instruction set. This header and the files that implement it
// are compiled with the flags of that set: project headers, <cmath> and <cstdint> alone, so that
// no shared inline function is ever compiled for a processor that may not be there.
#pragma once

#include <cstdint>

#include "math/activation.h"
#include "math/distance.h"
#include "math/halton.h"
#include "math/jet.h"
#include "math/signed_distance.h"

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

// Jets of `points` points through an activation with `width` neurons. Component c of point p
// lies at (p size + c) width in y, g, out and h: the components of a point are neighbours, so
// that a block of all arrays stays in the first cache. Pointers that a kernel does not need are
// null; out must not be g.
template <typename T>
struct JetRows {
  math::Kind kind;
  math::JetOrder order;
  int n;
  int64_t points, width;
  const T* bias;     // (width), added to the value
  const T* beta;     // (width)
  const T* y;        // with columns: the value alone, (points, width)
  const T* columns;  // the first layer: n rows, its first derivatives (the higher ones are 0)
  const T* g;        // backward: the gradient by h; tangent: the direction
  T* out;            // backward: the gradient by y; tangent: that of h
  T* h;              // f(y); backward: null where it is not wanted
  T* by_beta;        // backward, stan: the gradient by beta, (points, width)
  T* sums;           // backward: the gradients by y_0 and, with columns, by y_1..y_n are added
};

template <typename T>
struct JetKernels {
  void (*forward)(const JetRows<T>& rows);
  void (*backward)(const JetRows<T>& rows);
  void (*tangent)(const JetRows<T>& rows);
};

// Points a block of op distance.
constexpr int64_t distance_block = 64;
// Doubles that a thread needs for each piece: a block of jets, and the piece once more as
// math::FarPiece.
constexpr int64_t distance_memory(int size) { return size * distance_block + 18; }

template <typename T>
struct DistanceRows {
  math::JetOrder order;
  const math::Piece* pieces;
  int64_t count;
  int m;      // of the R-equivalence
  T curving;  // k = 1 / length^2
  int64_t points;
  const T* x;         // (points, 2)
  const int64_t* on;  // (points): the piece that a point lies on, -1 for none; may be null
  T* out;             // (size, points)
};

// The points begin .. end-1.
template <typename T>
using DistanceKernel = void (*)(const DistanceRows<T>& rows, int64_t begin, int64_t end,
                                void* memory);

// Points of ops signed_distance and signed_distance_slope.
template <typename T>
struct SignedDistanceRows {
  const math::StraightPiece* straight;
  const math::CircularPiece* circular;
  int64_t straight_count, circular_count;
  T size;      // of all pieces, which rounding is measured by
  const T* x;  // (points, 2)
  T* out;      // (points), or the slope (points, 2)
};

// The points begin .. end-1.
template <typename T>
using SignedDistanceKernel = void (*)(const SignedDistanceRows<T>& rows, int64_t begin,
                                      int64_t end);

template <typename T>
struct SignedDistanceKernels {
  SignedDistanceKernel<T> value, slope;
};

template <typename T>
struct NtkKernels {
  // Of each point |sum_k zbar_k h_k^T|^2, and |zbar_0|^2 where `firsts` is not null;
  // h (points, size, in), zbar (points, size, out).
  void (*trace)(const T* h, const T* zbar, int64_t points, int64_t size, int64_t in, int64_t out,
                double* squares, double* firsts);
  // The entries (n1, n2) of a Gram matrix, rows out_stride apart, from the products of rows of
  // jets, (n1 size1, n2 size2).
  void (*reduce)(const T* hh, const T* zz, int64_t n1, int64_t size1, int64_t n2, int64_t size2,
                 T* out, int64_t out_stride);
};

#define COLLOC_DECLARE_KERNELS(capability)                           \
  namespace capability {                                             \
  extern const HaltonKernel<float> halton_float;                     \
  extern const HaltonKernel<double> halton_double;                   \
  extern const ActivationKernels<float> activation_float;            \
  extern const ActivationKernels<double> activation_double;          \
  extern const JetKernels<float> jet_float;                          \
  extern const JetKernels<double> jet_double;                        \
  extern const DistanceKernel<float> distance_float;                 \
  extern const DistanceKernel<double> distance_double;               \
  extern const NtkKernels<float> ntk_float;                          \
  extern const NtkKernels<double> ntk_double;                        \
  extern const SignedDistanceKernels<float> signed_distance_float;   \
  extern const SignedDistanceKernels<double> signed_distance_double; \
  }

COLLOC_DECLARE_KERNELS(baseline)
COLLOC_DECLARE_KERNELS(avx2)
COLLOC_DECLARE_KERNELS(avx512)

}  // namespace colloc
