// Op halton digit by digit: the work of one thread, for any index and any number of points; and
// the choice between it and the kernel with tables (halton_table_body.h).
#pragma once

#include "common/thread_index.h"
#include "cuda/halton_table_body.h"
#include "math/divisor.h"
#include "math/halton.h"

namespace colloc {

template <typename T>
struct HaltonBody {
  math::HaltonAxis axes[halton_axes_a_launch];
  math::Divisor<uint64_t> bases[halton_axes_a_launch];
  int64_t count;  // axes in use
  int64_t n;
  int64_t dim;  // row length of out
  uint64_t start, leap;
  T* out;  // at this launch's first axis

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t item = thread.global; item < n * count; item += thread.total) {
      const int64_t point = item / count;
      const int64_t axis = item - point * count;
      const uint64_t reversed =
          reversed_from(axes[axis], bases[axis], start + leap * static_cast<uint64_t>(point));
      const double value = math::halton_quotient(reversed, axes[axis].denominator);
      out[point * dim + axis] = math::as_coordinate(value, T(0));
    }
  }

  COLLOC_HD_MEMBER static uint64_t reversed_from(const math::HaltonAxis& axis,
                                                 const math::Divisor<uint64_t>& base,
                                                 uint64_t index) {
    uint64_t reversed = 0;
    for (int position = 0; position < axis.digits; ++position) {
      const auto [rest, digit] = base.divide(index);
      reversed = reversed * axis.base + math::digit_of(axis, digit, position);
      index = rest;
    }
    return reversed;
  }

  Grid grid() const { return grid_for(n * count); }
};

// The same where indices, denominators and the number of coordinates are below 2^32, without
// scrambling.
template <typename T>
struct HaltonNarrowBody {
  struct Axis {
    double denominator, inverse;
    math::Divisor<uint32_t> base;
    int32_t digits;
  };

  Axis axes[halton_axes_a_launch];
  math::Divisor<uint32_t> count;  // axes in use
  uint32_t n;
  int64_t dim;  // row length of out
  uint32_t start, leap;
  T* out;  // at this launch's first axis

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    const int64_t items = static_cast<int64_t>(n) * count.value;
    for (int64_t item = thread.global; item < items; item += thread.total) {
      const auto [point, a] = count.divide(static_cast<uint32_t>(item));
      const Axis axis = axes[a];
      uint32_t rest = start + leap * point, reversed = 0;
      for (int position = 0; position < axis.digits; ++position) {
        const auto [quotient, digit] = axis.base.divide(rest);
        reversed = reversed * axis.base.value + digit;
        rest = quotient;
      }
      out[point * dim + a] = math::as_coordinate(
          math::halton_quotient_by(static_cast<double>(reversed), axis.denominator, axis.inverse),
          T(0));
    }
  }

  Grid grid() const { return grid_for(static_cast<int64_t>(n) * count.value); }
};

template <typename T, typename Axes, typename Run>
void halton_digit_body(const Axes& axes, int64_t first, int64_t count, int64_t n, int64_t dim,
                       uint64_t start, uint64_t leap, T* out, const Run& run) {
  constexpr uint64_t narrow = 0xffffffffu;
  // Indices are below 2^63, and a denominator is at least the base.
  bool all_narrow = start + leap * static_cast<uint64_t>(n - 1) <= narrow &&
                    static_cast<uint64_t>(n * count) <= narrow;
  for (int64_t i = 0; i < count; ++i) {
    all_narrow = all_narrow && !axes[first + i].scrambled && axes[first + i].denominator <= narrow;
  }
  if (all_narrow) {
    HaltonNarrowBody<T> body{};
    for (int64_t i = 0; i < count; ++i) {
      const math::HaltonAxis& axis = axes[first + i];
      const auto denominator = static_cast<double>(axis.denominator);
      body.axes[i] = {denominator, 1.0 / denominator,
                      math::divisor_of(static_cast<uint32_t>(axis.base)), axis.digits};
    }
    body.count = math::divisor_of(static_cast<uint32_t>(count));
    body.n = static_cast<uint32_t>(n);
    body.dim = dim;
    body.start = static_cast<uint32_t>(start);
    body.leap = static_cast<uint32_t>(leap);
    body.out = out + first;
    return run(body);
  }
  HaltonBody<T> body{};
  body.count = count;
  for (int64_t i = 0; i < count; ++i) {
    body.axes[i] = axes[first + i];
    body.bases[i] = math::divisor_of(axes[first + i].base);
  }
  body.n = n;
  body.dim = dim;
  body.start = start;
  body.leap = leap;
  body.out = out + first;
  run(body);
}

// Whether blocks make enough coordinates to be worth their tables. Digits of 32 bits are cheap, up
// to about 20 of them; scrambled or long ones are not.
inline bool worth_tables(int64_t n, int64_t dim, uint64_t start, bool scrambled,
                         int64_t digit_items) {
  constexpr uint64_t narrow = 0xffffffffu;
  if (n < least_points_of_tables) return false;
  return scrambled || start + static_cast<uint64_t>(n) > narrow || n >= digit_items / dim;
}

// Hands the bodies that together fill out (n, dim): `run` those of a thread, `run_blocks(body,
// grid)` those of a block.
template <typename T, typename Axes, typename Run, typename RunBlocks>
void halton_bodies(const Axes& axes, int64_t n, int64_t dim, int64_t start, int64_t leap, T* out,
                   const Run& run, const RunBlocks& run_blocks,
                   int64_t digit_items = most_digit_items) {
  const auto from = static_cast<uint64_t>(start), by = static_cast<uint64_t>(leap);
  int64_t first = 0;
  while (first < dim) {
    int64_t count = 0;
    if (leap == 1 && worth_tables(n, dim, from, axes[first].scrambled, digit_items)) {
      count = halton_table_body(axes, first, n, dim, from, out, run_blocks);
    }
    if (count == 0) {
      count = dim - first < halton_axes_a_launch ? dim - first : halton_axes_a_launch;
      halton_digit_body(axes, first, count, n, dim, from, by, out, run);
    }
    first += count;
  }
}

}  // namespace colloc
