// The work of one thread of op halton, and its grid.
#pragma once

#include "common/thread_index.h"
#include "math/halton.h"

namespace colloc {

constexpr int axes_a_launch = 16;  // they travel as kernel arguments

template <typename T>
struct HaltonBody {
  math::HaltonAxis axes[axes_a_launch];
  int64_t count;  // axes in use
  int64_t n;
  int64_t dim;  // row length of out
  uint64_t start, leap;
  T* out;  // at this launch's first axis

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t item = thread.global; item < n * count; item += thread.total) {
      const int64_t point = item / count;
      const int64_t axis = item - point * count;
      out[point * dim + axis] =
          math::halton_coordinate<T>(axes[axis], start + leap * static_cast<uint64_t>(point));
    }
  }

  Grid grid() const { return grid_for(n * count); }
};

// Hands `run` the bodies that together fill out (n, dim).
template <typename T, typename Axes, typename Run>
void halton_bodies(const Axes& axes, int64_t n, int64_t dim, int64_t start, int64_t leap, T* out,
                   const Run& run) {
  for (int64_t first = 0; first < dim; first += axes_a_launch) {
    HaltonBody<T> body{};
    body.count = dim - first < axes_a_launch ? dim - first : axes_a_launch;
    for (int64_t i = 0; i < body.count; ++i) body.axes[i] = axes[first + i];
    body.n = n;
    body.dim = dim;
    body.start = static_cast<uint64_t>(start);
    body.leap = static_cast<uint64_t>(leap);
    body.out = out + first;
    run(body);
  }
}

}  // namespace colloc
