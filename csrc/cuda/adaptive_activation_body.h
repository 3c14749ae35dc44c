// The work of one thread of the activation ops, and their grids.
//
// The backward sums over points in three launches without barriers between threads, in an order
// fixed by the shapes alone: by column over every `rows_apart`-th row, over those partial sums,
// and over the repeats of each slope.
#pragma once

#include "common/thread_index.h"
#include "math/activation.h"

namespace colloc {

// A slope or beta on the device: `count` values, repeated along x.
template <typename T>
struct Repeated {
  const T* values;
  int64_t count;  // 1, or the last size of x

  COLLOC_HD_MEMBER T at(int64_t element) const {
    return count == 1 ? values[0] : values[element % count];
  }
};

template <math::Kind K, int Order, typename T>
struct ActivationForwardBody {
  const T* x;
  int64_t count;
  Repeated<T> a, beta;
  T scale;
  T* y;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t i = thread.global; i < count; i += thread.total) {
      T d[Order + 1];
      const T b = K == math::Kind::stan ? beta.at(i) : T(0);
      math::activation_derivatives<K, Order>(scale * a.at(i) * x[i], b, d);
      y[i] = d[Order];
    }
  }

  Grid grid() const { return grid_for(count); }
};

// How x is walked: rows of `width` elements (a multiple of the number of slopes), one thread a
// column and every `apart`-th row.
struct ActivationRows {
  int64_t width, apart;

  ActivationRows(int64_t count, int64_t slopes) {
    width = slopes * (slopes < 1024 ? 1024 / slopes : 1);
    const int64_t rows = (count + width - 1) / width;
    const int64_t most = 132 * 2048 / width;  // about as many threads as a large GPU holds
    apart = rows < most ? rows : most;
    if (apart < 1) apart = 1;
  }
};

template <math::Kind K, int Order, typename T>
struct ActivationBackwardBody {
  const T* grad;
  const T* x;
  int64_t count;
  Repeated<T> a, beta;
  T scale;
  int64_t width, apart;
  T* grad_x;        // may be null
  double* by_a;     // (apart, width)
  double* by_beta;  // (apart, width), null unless stan

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t item = thread.global; item < width * apart; item += thread.total) {
      const int64_t column = item % width;
      double total_a = 0.0, total_beta = 0.0;
      T sum_a = T(0), sum_beta = T(0);
      int pending = 0;
      for (int64_t i = (item / width) * width + column; i < count; i += apart * width) {
        T d[Order + 2], partial[Order + 2];
        const T b = K == math::Kind::stan ? beta.at(i) : T(0);
        const T slope = scale * a.at(i);
        math::activation_derivatives<K, Order + 1>(slope * x[i], b, d, partial);
        const T g = grad[i] * d[Order + 1];
        if (grad_x != nullptr) grad_x[i] = g * slope;
        sum_a += g * x[i];
        if constexpr (K == math::Kind::stan) sum_beta += grad[i] * partial[Order];
        if (++pending == 64) {
          total_a += sum_a;
          total_beta += sum_beta;
          sum_a = sum_beta = T(0);
          pending = 0;
        }
      }
      by_a[item] = total_a + sum_a;
      if (by_beta != nullptr) by_beta[item] = total_beta + sum_beta;
    }
  }

  Grid grid() const { return grid_for(width * apart); }
};

// (apart, width) -> (width)
struct SumRowsBody {
  const double* partial;
  int64_t width, apart;
  double* columns;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t column = thread.global; column < width; column += thread.total) {
      double total = 0.0;
      for (int64_t row = 0; row < apart; ++row) total += partial[row * width + column];
      columns[column] = total;
    }
  }

  Grid grid() const { return grid_for(width); }
};

// (width) -> (results): every results-th column belongs together.
template <typename T>
struct SumRepeatsBody {
  const double* columns;
  int64_t width, results;
  double factor;
  T* out;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t result = thread.global; result < results; result += thread.total) {
      double total = 0.0;
      for (int64_t column = result; column < width; column += results) total += columns[column];
      out[result] = static_cast<T>(factor * total);
    }
  }

  Grid grid() const { return grid_for(results); }
};

// Calls run(std::integral_constant-like Kind K, Order N) for run-time kind and order.
template <int N>
struct OrderTag {
  static constexpr int value = N;
};
template <math::Kind K>
struct KindTag {
  static constexpr math::Kind value = K;
};

template <int Last, typename Kind, typename Run>
void with_order(Kind kind, int64_t order, const Run& run) {
  if (order == 0)
    run(kind, OrderTag<0>{});
  else if (order == 1)
    run(kind, OrderTag<1>{});
  else if (order == 2)
    run(kind, OrderTag<2>{});
  else if (order == 3)
    run(kind, OrderTag<3>{});
  else if constexpr (Last >= 4)
    run(kind, OrderTag<4>{});
}

template <int Last, typename Run>
void with_kind_and_order(math::Kind kind, int64_t order, const Run& run) {
  using math::Kind;
  switch (kind) {
    case Kind::tanh:
      return with_order<Last>(KindTag<Kind::tanh>{}, order, run);
    case Kind::sin:
      return with_order<Last>(KindTag<Kind::sin>{}, order, run);
    case Kind::silu:
      return with_order<Last>(KindTag<Kind::silu>{}, order, run);
    case Kind::gelu:
      return with_order<Last>(KindTag<Kind::gelu>{}, order, run);
    case Kind::gelu_tanh:
      return with_order<Last>(KindTag<Kind::gelu_tanh>{}, order, run);
    case Kind::sigmoid:
      return with_order<Last>(KindTag<Kind::sigmoid>{}, order, run);
    case Kind::softplus:
      return with_order<Last>(KindTag<Kind::softplus>{}, order, run);
    case Kind::identity:
      return with_order<Last>(KindTag<Kind::identity>{}, order, run);
    case Kind::stan:
      return with_order<Last>(KindTag<Kind::stan>{}, order, run);
  }
}

// What both runs of the backward need: pointers, and scratch of `scratch_size` doubles.
template <typename T>
struct ActivationBackwardArguments {
  const T* grad;
  const T* x;
  int64_t count;
  Repeated<T> a, beta;
  double scale;
  T* grad_x;  // each may be null
  T* grad_a;
  T* grad_beta;
  int64_t slopes;  // 1 or the last size of x: the longer of a and beta
  double* scratch;

  static int64_t scratch_size(int64_t count, int64_t slopes) {
    const ActivationRows rows(count, slopes);
    return 2 * (rows.apart + 1) * rows.width;
  }
};

// The launches of one backward, in order, handed to `run`.
template <math::Kind K, int Order, typename T, typename Run>
void activation_backward_bodies(const ActivationBackwardArguments<T>& p, const Run& run) {
  const ActivationRows rows(p.count, p.slopes);
  const int64_t size = rows.apart * rows.width;
  double* by_a = p.scratch;
  double* by_beta = K == math::Kind::stan ? by_a + size : nullptr;
  double* columns = p.scratch + 2 * size;
  run(ActivationBackwardBody<K, Order, T>{p.grad, p.x, p.count, p.a, p.beta,
                                          static_cast<T>(p.scale), rows.width, rows.apart, p.grad_x,
                                          by_a, by_beta});
  if (p.grad_a != nullptr) {
    run(SumRowsBody{by_a, rows.width, rows.apart, columns});
    run(SumRepeatsBody<T>{columns, rows.width, p.a.count, p.scale, p.grad_a});
  }
  if (p.grad_beta != nullptr) {
    run(SumRowsBody{by_beta, rows.width, rows.apart, columns + rows.width});
    run(SumRepeatsBody<T>{columns + rows.width, rows.width, p.beta.count, 1.0, p.grad_beta});
  }
}

}  // namespace colloc
