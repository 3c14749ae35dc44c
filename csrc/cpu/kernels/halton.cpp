#include "cpu/kernels/kernels.h"

namespace colloc::COLLOC_CAPABILITY {
namespace {

constexpr int64_t block = 512;  // points a pass; with four axes a pass stays in the first cache

// Consecutive indices: one reversal of the high digits a period, then an addition and a
// division a value, both exact but for the division's one rounding.
void fill_consecutive(const HaltonTable& table, uint64_t first, int64_t count, double* out) {
  const double denominator = static_cast<double>(table.axis.denominator);
  uint64_t high = first / table.period;
  uint64_t low = first - high * table.period;
  while (count > 0) {
    const int64_t room = static_cast<int64_t>(table.period - low);
    const int64_t run = room < count ? room : count;
    const double shift = static_cast<double>(
        math::reversed_digits(table.axis, high, table.low_digits, table.axis.digits));
    const double* reversed = table.reversed + low;
#pragma omp simd
    for (int64_t i = 0; i < run; ++i) out[i] = (reversed[i] + shift) / denominator;
    out += run;
    count -= run;
    low = 0;
    ++high;
  }
}

void fill(const HaltonTable& table, uint64_t first, uint64_t leap, int64_t count, double* out) {
  if (table.reversed != nullptr && leap == 1) {
    fill_consecutive(table, first, count, out);
    return;
  }
  if (table.reversed != nullptr) {
    const double denominator = static_cast<double>(table.axis.denominator);
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t index = first + leap * static_cast<uint64_t>(i);
      const uint64_t high = index / table.period;
      const uint64_t shift =
          math::reversed_digits(table.axis, high, table.low_digits, table.axis.digits);
      out[i] =
          (table.reversed[index - high * table.period] + static_cast<double>(shift)) / denominator;
    }
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    out[i] = math::halton_coordinate<double>(table.axis, first + leap * static_cast<uint64_t>(i));
  }
}

// Columns (block each) into rows; the number of columns known, so that stores are interleaved.
template <int Columns, typename T>
void interleave(const double* columns, int64_t count, int64_t dim, T* out) {
  for (int64_t i = 0; i < count; ++i) {
    for (int c = 0; c < Columns; ++c) {
      out[i * dim + c] = math::as_coordinate(columns[c * block + i], T(0));
    }
  }
}

template <int Columns, typename T>
void interleave_dense(const double* columns, int64_t count, T* out) {
  for (int64_t i = 0; i < count; ++i) {
    for (int c = 0; c < Columns; ++c) {
      out[i * Columns + c] = math::as_coordinate(columns[c * block + i], T(0));
    }
  }
}

template <typename T>
void halton(const HaltonTable* tables, int64_t dim, uint64_t start, uint64_t leap, int64_t begin,
            int64_t end, T* out) {
  double columns[4 * block];
  for (int64_t point = begin; point < end; point += block) {
    const int64_t count = end - point < block ? end - point : block;
    const uint64_t first = start + leap * static_cast<uint64_t>(point);
    T* rows = out + (point - begin) * dim;
    for (int64_t d = 0; d < dim; d += 4) {
      const int64_t width = dim - d < 4 ? dim - d : 4;
      for (int64_t c = 0; c < width; ++c) {
        fill(tables[d + c], first, leap, count, columns + c * block);
      }
      if (dim == 1)
        interleave_dense<1>(columns, count, rows);
      else if (dim == 2)
        interleave_dense<2>(columns, count, rows);
      else if (dim == 3)
        interleave_dense<3>(columns, count, rows);
      else if (dim == 4)
        interleave_dense<4>(columns, count, rows);
      else if (width == 1)
        interleave<1>(columns, count, dim, rows + d);
      else if (width == 2)
        interleave<2>(columns, count, dim, rows + d);
      else if (width == 3)
        interleave<3>(columns, count, dim, rows + d);
      else
        interleave<4>(columns, count, dim, rows + d);
    }
  }
}

}  // namespace

const HaltonKernel<float> halton_float = halton<float>;
const HaltonKernel<double> halton_double = halton<double>;

}  // namespace colloc::COLLOC_CAPABILITY
