// The work of one thread of op transfinite: a point. A few operations a value that is read, once
// a set of points: the CPU runs the same body in a loop.
#pragma once

#include "common/thread_index.h"
#include "math/transfinite.h"

namespace colloc {

// Of float or double: both are computed in double, by one kernel.
struct TransfiniteArrays {
  bool single;
  int64_t points, groups;
  const void* phi;    // (groups, size, points)
  const int64_t* mu;  // (groups)
  double length;
  void* out;  // (size, points, groups)
};

template <math::JetOrder O, int n>
struct TransfiniteBody {
  static constexpr int size = math::JetForm<O, n>::size;
  TransfiniteArrays p;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t i = thread.global; i < p.points; i += thread.total) run(i);
  }

  COLLOC_HD_MEMBER void run(int64_t point) const {
    const auto read = [&](int64_t g, int c) {
      const int64_t at = (g * size + c) * p.points + point;
      return p.single ? static_cast<double>(static_cast<const float*>(p.phi)[at])
                      : static_cast<const double*>(p.phi)[at];
    };
    const auto write = [&](int64_t g, int c, double value) {
      const int64_t at = (c * p.points + point) * p.groups + g;
      if (p.single) {
        static_cast<float*>(p.out)[at] = static_cast<float>(value);
      } else {
        static_cast<double*>(p.out)[at] = value;
      }
    };
    math::transfinite<O, n>(read, p.mu, p.groups, p.length, write);
  }

  Grid grid() const { return grid_for(p.points, 132 * 32, 128); }
};

template <math::JetOrder O, typename Run>
void with_transfinite_body(int n, const TransfiniteArrays& p, const Run& run) {
  if constexpr (O == math::canonical(O, 1)) {
    if (n == 1) return run(TransfiniteBody<O, 1>{p});
  }
  if (n == 2) return run(TransfiniteBody<O, 2>{p});
  if (n == 3) return run(TransfiniteBody<O, 3>{p});
  if (n == 4) return run(TransfiniteBody<O, 4>{p});
}

// Calls run(TransfiniteBody) for a run-time order and n.
template <typename Run>
void with_transfinite_body(math::JetOrder order, int n, const TransfiniteArrays& p,
                           const Run& run) {
  using math::JetOrder;
  switch (math::canonical(order, n)) {
    case JetOrder::value:
      return run(TransfiniteBody<JetOrder::value, 1>{p});
    case JetOrder::first:
      return with_transfinite_body<JetOrder::first>(n, p, run);
    case JetOrder::laplacian:
      return with_transfinite_body<JetOrder::laplacian>(n, p, run);
    case JetOrder::second:
      return with_transfinite_body<JetOrder::second>(n, p, run);
    case JetOrder::grad_laplacian:
      return with_transfinite_body<JetOrder::grad_laplacian>(n, p, run);
    case JetOrder::third:
      return with_transfinite_body<JetOrder::third>(n, p, run);
  }
}

}  // namespace colloc
