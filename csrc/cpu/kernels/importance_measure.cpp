// Op importance_probabilities: measures of rows, and their normalisation.
#include "cpu/kernels/importance.h"
#include "cpu/kernels/shares.h"

namespace colloc::COLLOC_CAPABILITY {
namespace {

constexpr int64_t block = 512;  // rows a pass

// Rows of C neighbours.
template <int C, typename T>
void dense_squares(const T* from, int64_t count, double unit, double* out) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    double sum = 0.0;
    for (int c = 0; c < C; ++c) {
      const double x = static_cast<double>(from[i * C + c]) * unit;
      sum += x * x;
    }
    out[i] = sum;
  }
}

template <typename T>
void strided_squares(const T* from, int64_t stride, int64_t count, double unit, double* out) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const double x = static_cast<double>(from[i * stride]) * unit;
    out[i] += x * x;
  }
}

template <typename T>
void squares(const MeasureRows<T>& rows, int64_t first, int64_t count, double* out) {
  const T* from = rows.measure + first * rows.row_stride;
  const double unit = rows.units.entry;
  if (rows.column_stride == 1 && rows.row_stride == rows.columns) {
    switch (rows.columns) {
      case 1:
        return dense_squares<1>(from, count, unit, out);
      case 2:
        return dense_squares<2>(from, count, unit, out);
      case 3:
        return dense_squares<3>(from, count, unit, out);
      case 4:
        return dense_squares<4>(from, count, unit, out);
      default:
        break;
    }
  }
  for (int64_t i = 0; i < count; ++i) out[i] = 0.0;
  for (int64_t c = 0; c < rows.columns; ++c) {
    const T* column = from + c * rows.column_stride;
    if (rows.row_stride == 1) {
      strided_squares(column, 1, count, unit, out);
    } else {
      strided_squares(column, rows.row_stride, count, unit, out);
    }
  }
}

void powers(double* m, int64_t count, double exponent) {
  if (exponent == 1.0) return;
  if (exponent == 0.5) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) m[i] = std::sqrt(m[i]);
  } else if (exponent == 2.0) {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) m[i] *= m[i];
  } else {
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) m[i] = math::nonnegative_power(m[i], exponent);
  }
}

// The measures of `count` rows before the power, or their squares where that loses nothing.
template <typename T>
bool measures_or_squares(const MeasureRows<T>& rows, int64_t first, int64_t count, double* m) {
  const T* from = rows.measure + first * rows.row_stride;
  if (!rows.norm) {
    const double unit = rows.units.entry;
    for (int64_t i = 0; i < count; ++i) {
      m[i] = static_cast<double>(from[i * rows.row_stride]) * unit;
    }
    return false;
  }
  squares(rows, first, count, m);
  if (sizeof(T) == 4) return true;  // in double neither overflows nor is it subnormal
  int64_t outside = 0;
  for (int64_t i = 0; i < count; ++i) {
    outside += !(m[i] >= math::least_square && m[i] <= math::most_square);
  }
  if (outside == 0) return true;
  for (int64_t i = 0; i < count; ++i) {
    m[i] = m[i] >= math::least_square && m[i] <= math::most_square
               ? std::sqrt(m[i])
               : math::scaled_norm(from + i * rows.row_stride, rows.column_stride, rows.columns,
                                   rows.units.entry);
  }
  return false;
}

int64_t count_bad(const double* values, int64_t count, int64_t first, int64_t& first_bad) {
  int64_t bad = 0;
#pragma omp simd reduction(+ : bad)
  for (int64_t i = 0; i < count; ++i) bad += !math::finite_nonnegative(values[i]);
  for (int64_t i = 0; bad > 0 && i < count; ++i) {
    if (math::finite_nonnegative(values[i])) continue;
    if (first + i < first_bad) first_bad = first + i;
    break;
  }
  return bad;
}

double largest_of(const double* values, int64_t count) {
  double largest = 0.0;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < count; ++i) largest = values[i] > largest ? values[i] : largest;
  return largest;
}

// Among those with a share > 0.
double largest_shared(const double* values, const double* a, int64_t count) {
  double largest = 0.0;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < count; ++i) {
    const double value = a[i] > 0.0 ? values[i] : 0.0;
    largest = value > largest ? value : largest;
  }
  return largest;
}

template <typename T>
math::MeasureTotals measure(const MeasureRows<T>& rows, int64_t begin, int64_t end) {
  double m[block], a[block];
  math::MeasureTotals totals{0.0, 0.0, 0.0, 0.0, 0, INT64_MAX, 0, INT64_MAX};
  for (int64_t first = begin; first < end; first += block) {
    const int64_t count = end - first < block ? end - first : block;
    bool squared = measures_or_squares(rows, first, count, m);
    totals.bad += count_bad(m, count, first, totals.first_bad);
    const bool shared = load_shares(rows.shares, first, count, rows.units.area, a);
    double largest = shared ? largest_shared(m, a, count) : largest_of(m, count);
    if (squared) largest = std::sqrt(largest);
    totals.largest = largest > totals.largest ? largest : totals.largest;
    if (rows.units.measure != 1.0) {
      if (squared) powers(m, count, 0.5);
      squared = false;
      for (int64_t i = 0; i < count; ++i) m[i] *= rows.units.measure;
    }
    powers(m, count, squared ? 0.5 * rows.power : rows.power);
    if (rows.units.powered != 1.0) {
      for (int64_t i = 0; i < count; ++i) m[i] *= rows.units.powered;
    }
    double* out = rows.out + first;
    double weighted = 0.0;
    if (shared) {
      totals.bad_area += count_bad(a, count, first, totals.first_bad_area);
      double area = 0.0;
#pragma omp simd reduction(+ : weighted, area)
      for (int64_t i = 0; i < count; ++i) {
        // A point without a share may have overflown in units made for the others.
        const double product = a[i] > 0.0 ? m[i] * a[i] : 0.0;
        out[i] = product;
        weighted += product;
        area += a[i];
      }
      totals.area += area;
      const double most = largest_of(a, count);
      totals.largest_area = most > totals.largest_area ? most : totals.largest_area;
    } else {
#pragma omp simd reduction(+ : weighted)
      for (int64_t i = 0; i < count; ++i) {
        out[i] = m[i];
        weighted += m[i];
      }
      totals.area += static_cast<double>(count);
      totals.largest_area = 1.0;
    }
    totals.weighted += weighted;
  }
  return totals;
}

void normalise(Shares shares, double unit, double shift, double factor, int64_t begin, int64_t end,
               double* out) {
  double a[block];
  if (!load_shares(shares, begin, 0, unit, a)) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) out[i] = (out[i] + shift) * factor;
    return;
  }
  for (int64_t first = begin; first < end; first += block) {
    const int64_t count = end - first < block ? end - first : block;
    load_shares(shares, first, count, unit, a);
    double* to = out + first;
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) to[i] = (to[i] + shift * a[i]) * factor;
  }
}

}  // namespace

const MeasureKernel<float> measure_float = measure<float>;
const MeasureKernel<double> measure_double = measure<double>;
const ProbabilityKernel probability = normalise;

}  // namespace colloc::COLLOC_CAPABILITY
