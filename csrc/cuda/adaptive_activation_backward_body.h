// The backward of the activation ops: the work of one block. A block walks every so many rows of x
// and sums what a slope's gradient gets over them, in an order fixed by the shapes alone; a second
// kernel sums over the blocks.
#pragma once

#include "common/block_thread.h"
#include "cuda/adaptive_activation_body.h"

namespace colloc {

// (rows, columns) in shared memory -> sums over the rows, in the first one.
template <typename Thread>
COLLOC_BLOCK void sum_rows(const Thread& t, double* values, int rows, int columns) {
  while (rows > 1) {
    const int half = (rows + 1) / 2;
    t.sync();
    for (int i = t.thread(); i < (rows - half) * columns; i += t.threads()) {
      values[i] += values[i + half * columns];
    }
    rows = half;
  }
  t.sync();
}

template <math::Kind K, int Order, typename T>
struct ActivationBackwardBody {
  static constexpr int together = ActivationRows::together;
  static constexpr int threads = 256, least_blocks = sizeof(T) == 4 ? 3 : 2;
  static constexpr int strip = threads * together;  // columns of a block
  static constexpr bool stan = K == math::Kind::stan;

  const T* grad;
  const T* x;
  int64_t count, width, apart, strips;
  Repeated<T> a, beta;
  T scale;
  T* grad_x;  // may be null
  // (apart, slopes of each), or (apart, width) where a row is more than a strip; may be null.
  double* by_a;
  double* by_beta;
  bool aligned;

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& t) const {
    const int64_t part = strips == 1 ? t.block() : t.block() / strips;
    const int64_t first = strips == 1 ? 0 : (t.block() - part * strips) * strip;
    const int64_t column = first + t.thread() * together;
    double total_a[together] = {}, total_beta[together] = {};
    if (column < width) walk(part, column, total_a, total_beta);
    double* values = reinterpret_cast<double*>(t.shared());
    if (by_a != nullptr) keep(t, values, part, first, total_a, a.count, by_a);
    if (stan && by_beta != nullptr) keep(t, values, part, first, total_beta, beta.count, by_beta);
  }

  COLLOC_HD_MEMBER void walk(int64_t part, int64_t column, double (&total_a)[together],
                             double (&total_beta)[together]) const {
    const int64_t step = apart * width;
    T slope[together], b[together] = {};
    a.load(column, slope);
    if constexpr (stan) beta.load(column, b);
    T sum_a[together] = {}, sum_beta[together] = {}, next_x[together] = {}, next_g[together] = {};
#pragma unroll
    for (int k = 0; k < together; ++k) slope[k] *= scale;
    int64_t i = part * width + column;
    if (i < count) {
      load_some(next_x, x + i, count - i, aligned);
      load_some(next_g, grad + i, count - i, aligned);
    }
    int pending = 0;
    for (; i < count; i += step) {
      T point[together], g[together], made[together];
#pragma unroll
      for (int k = 0; k < together; ++k) point[k] = next_x[k], g[k] = next_g[k];
      if (i + step < count) {
        load_some(next_x, x + i + step, count - i - step, aligned);
        load_some(next_g, grad + i + step, count - i - step, aligned);
      }
#pragma unroll
      for (int k = 0; k < together; ++k) {
        T d[Order + 2], partial[Order + 2];
        math::activation_derivatives<K, Order + 1>(slope[k] * point[k], b[k], d, partial);
        const T by_argument = g[k] * d[Order + 1];
        made[k] = by_argument * slope[k];
        sum_a[k] += by_argument * point[k];
        if constexpr (stan) sum_beta[k] += g[k] * partial[Order];
      }
      if (grad_x != nullptr) store_some(grad_x + i, made, count - i, aligned);
      if (++pending == 64) {
        flush(sum_a, total_a);
        flush(sum_beta, total_beta);
        pending = 0;
      }
    }
    flush(sum_a, total_a);
    flush(sum_beta, total_beta);
  }

  static COLLOC_HD_MEMBER void flush(T (&sum)[together], double (&total)[together]) {
#pragma unroll
    for (int k = 0; k < together; ++k) {
      total[k] += sum[k];
      sum[k] = T(0);
    }
  }

  template <typename Thread>
  COLLOC_BLOCK void keep(const Thread& t, double* values, int64_t part, int64_t first,
                         const double (&total)[together], int64_t slopes, double* to) const {
    const int column = t.thread() * together;
    if (strips > 1) {
#pragma unroll
      for (int k = 0; k < together; ++k) {
        if (first + column + k < width) to[part * width + first + column + k] = total[k];
      }
      return;
    }
    t.sync();
#pragma unroll
    for (int k = 0; k < together; ++k) values[column + k] = total[k];
    const int columns = static_cast<int>(slopes);
    sum_rows(t, values, static_cast<int>(width) / columns, columns);
    for (int c = t.thread(); c < columns; c += threads) to[part * slopes + c] = values[c];
  }

  BlockGrid grid() const { return {apart * strips, strip * sizeof(double)}; }
};

// (rows, columns) -> (columns), times factor: four columns a block.
template <typename T>
struct ColumnSumsBody {
  static constexpr int threads = 256, least_blocks = 4, most_columns = 4;

  const double* from;
  int64_t rows, columns;
  double factor;
  T* to;

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& t) const {
    double* values = reinterpret_cast<double*>(t.shared());
    const int64_t first = t.block() * most_columns;
    const int own =
        static_cast<int>(columns - first < most_columns ? columns - first : most_columns);
    const int lanes = threads / own, lane = t.thread() / own;
    const int64_t column = first + t.thread() % own, step = lanes * columns;
    const double* at = from + lane * columns + column;
    double sum[4] = {};
    if (lane < lanes) {
      int64_t row = lane;
      for (; row + 3 * lanes < rows; row += 4 * lanes, at += 4 * step) {
        const double v0 = at[0], v1 = at[step], v2 = at[2 * step], v3 = at[3 * step];
        sum[0] += v0;
        sum[1] += v1;
        sum[2] += v2;
        sum[3] += v3;
      }
      for (; row < rows; row += lanes, at += step) sum[0] += *at;
    }
    values[t.thread()] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    sum_rows(t, values, lanes, own);
    if (t.thread() < own) to[column] = static_cast<T>(factor * values[t.thread()]);
  }

  BlockGrid grid() const {
    return {(columns + most_columns - 1) / most_columns, threads * sizeof(double)};
  }
};

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

  static constexpr int64_t strip = ActivationRows::together * 256;

  static int64_t strips(const ActivationRows& rows) { return (rows.width + strip - 1) / strip; }

  static int64_t apart(const ActivationRows& rows) { return rows.apart(132 * 12 / strips(rows)); }

  // Columns of the partial sums.
  static int64_t kept(const ActivationRows& rows, int64_t slopes) {
    return strips(rows) == 1 ? slopes : rows.width;
  }

  static int64_t scratch_size(int64_t count, int64_t slopes) {
    const ActivationRows rows(count, slopes);
    return 2 * apart(rows) * kept(rows, slopes);
  }
};

// The launches of one backward, in order, handed to `run(body, grid)`.
template <math::Kind K, int Order, typename T, typename Run>
void activation_backward_bodies(const ActivationBackwardArguments<T>& p, const Run& run) {
  using Arguments = ActivationBackwardArguments<T>;
  using Body = ActivationBackwardBody<K, Order, T>;
  static_assert(Body::strip == Arguments::strip);
  const ActivationRows rows(p.count, p.slopes);
  const int64_t apart = Arguments::apart(rows), size = apart * Arguments::kept(rows, p.slopes);
  const bool aligned = sixteen_aligned(p.grad) && sixteen_aligned(p.x) && sixteen_aligned(p.grad_x);
  const Body body{p.grad,
                  p.x,
                  p.count,
                  rows.width,
                  apart,
                  Arguments::strips(rows),
                  p.a,
                  p.beta,
                  static_cast<T>(p.scale),
                  p.grad_x,
                  p.grad_a == nullptr ? nullptr : p.scratch,
                  p.grad_beta == nullptr ? nullptr : p.scratch + size,
                  aligned};
  run(body, body.grid());
  const auto sums = [&](const double* from, int64_t columns, double factor, T* to) {
    const int64_t parts =
        apart * Arguments::kept(rows, columns) / columns;  // rows of the partial sums
    const ColumnSumsBody<T> sum{from, parts, columns, factor, to};
    run(sum, sum.grid());
  };
  if (p.grad_a != nullptr) sums(body.by_a, p.a.count, p.scale, p.grad_a);
  if (p.grad_beta != nullptr) sums(body.by_beta, p.beta.count, 1.0, p.grad_beta);
}

}  // namespace colloc
