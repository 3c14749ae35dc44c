// The work of one thread of op ntk_trace: the products of one row of a point's jet with the rows
// after it; then, in a second launch, the sum over a point's rows.
#pragma once

#include "common/thread_index.h"
#include "math/ntk.h"

namespace colloc {

template <typename T>
struct NtkTraceArrays {
  int64_t points, size, in, out;
  const T* h;       // (points, size, in)
  const T* zbar;    // (points, size, out)
  double* rows;     // (points, size)
  double* squares;  // (points)
};

template <typename T>
struct NtkTraceRows {
  NtkTraceArrays<T> p;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    const auto product = [](const T* a, const T* b, int64_t count) {
      return math::inner(a, b, count);
    };
    for (int64_t item = thread.global; item < p.points * p.size; item += thread.total) {
      const int64_t point = item / p.size, k = item - point * p.size;
      p.rows[item] =
          math::ntk_square_of_row(p.h + point * p.size * p.in, p.zbar + point * p.size * p.out,
                                  p.size, p.in, p.out, k, product);
    }
  }

  Grid grid() const { return grid_for(p.points * p.size, 132 * 32, 128); }
};

template <typename T>
struct NtkTraceSums {
  NtkTraceArrays<T> p;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t point = thread.global; point < p.points; point += thread.total) {
      double sum = 0;
      for (int64_t k = 0; k < p.size; ++k) sum += p.rows[point * p.size + k];
      p.squares[point] = sum;
    }
  }

  Grid grid() const { return grid_for(p.points); }
};

// Hands `run` the bodies, in order.
template <typename T, typename Run>
void ntk_trace_bodies(const NtkTraceArrays<T>& arrays, const Run& run) {
  run(NtkTraceRows<T>{arrays});
  run(NtkTraceSums<T>{arrays});
}

}  // namespace colloc
