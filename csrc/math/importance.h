// Importance sampling of a pool of N points. With shares a_i of an area and a measure m_i,
// q_i is proportional to (m_i + floor + relative_floor mean) a_i, mean = sum m_i a_i / sum a_i.
// A draw is a place t in [0, sum q): it takes the item i with P_(i-1) <= t < P_i, P_i = q_0 + ...
// + q_i. What the CPU and the GPU have in common; their sums are made in different orders.
#pragma once

#include <cmath>
#include <cstdint>

#include "math/elementary.h"
#include "math/random.h"

namespace colloc::math {

constexpr double largest_double = 1.7976931348623157e308;

COLLOC_HD bool finite_nonnegative(double x) { return x >= 0.0 && x <= largest_double; }

// ---- probabilities ----------------------------------------------------------------------

// Of a part of the pool, or of the whole. The first bad one is N or above where there is none.
struct MeasureTotals {
  double weighted;               // sum of m a
  double area;                   // sum of a
  double largest, largest_area;  // measure before the power
  int64_t bad, first_bad;        // NaN, infinite or negative measures
  int64_t bad_area, first_bad_area;
};

COLLOC_HD void add(MeasureTotals& sum, const MeasureTotals& part) {
  sum.weighted += part.weighted;
  sum.area += part.area;
  sum.largest = part.largest > sum.largest ? part.largest : sum.largest;
  sum.largest_area = part.largest_area > sum.largest_area ? part.largest_area : sum.largest_area;
  sum.bad += part.bad;
  sum.bad_area += part.bad_area;
  sum.first_bad = part.first_bad < sum.first_bad ? part.first_bad : sum.first_bad;
  sum.first_bad_area =
      part.first_bad_area < sum.first_bad_area ? part.first_bad_area : sum.first_bad_area;
}

// Units in which nothing overflows: entries times `entry`, their measure times `measure` before
// the power and `powered` after it, shares of area times `area`.
struct MeasureUnits {
  double entry = 1.0, measure = 1.0, powered = 1.0, area = 1.0;
};

// x^exponent for finite x >= 0.
COLLOC_HD double nonnegative_power(double x, double exponent) {
  const bool zero = x == 0.0;
  const double y = exponent * log_positive(zero ? 1.0 : x);
  const double value = exp_bounded(y > 709.0 ? 709.0 : y);
  return zero ? (exponent == 0.0 ? 1.0 : 0.0) : value;
}

// The range in which a sum of squares in double has neither overflown nor lost digits.
constexpr double least_square = 1e-280, most_square = 1e290;

// The 2-norm of one row, relative to its largest entry; NaN where an entry is not finite.
template <typename T>
COLLOC_HD double scaled_norm(const T* row, int64_t stride, int64_t columns, double unit) {
  double largest = 0.0;
  for (int64_t c = 0; c < columns; ++c) {
    const double x = absolute(static_cast<double>(row[c * stride]) * unit);
    if (!(x <= largest_double)) return bits_as<double>(uint64_t(0x7ff8000000000000));
    largest = x > largest ? x : largest;
  }
  if (largest == 0.0) return 0.0;
  double sum = 0.0;
  for (int64_t c = 0; c < columns; ++c) {
    const double x = static_cast<double>(row[c * stride]) * unit / largest;
    sum += x * x;
  }
  const double norm = largest * std::sqrt(sum);
  return norm > largest_double ? largest_double : norm;
}

// The measure of a row before the power; NaN for a bad one.
template <typename T>
COLLOC_HD double row_measure(const T* row, int64_t stride, int64_t columns, bool norm,
                             double unit) {
  if (!norm) return static_cast<double>(row[0]) * unit;
  double sum = 0.0;
  for (int64_t c = 0; c < columns; ++c) {
    const double x = static_cast<double>(row[c * stride]) * unit;
    sum += x * x;
  }
  if (sum >= least_square && sum <= most_square) return std::sqrt(sum);
  return scaled_norm(row, stride, columns, unit);
}

// ---- draws ------------------------------------------------------------------------------

enum class DrawScheme : int { multinomial, stratified, without_replacement };

struct PoolTotals {
  double sum, area, largest;
  int64_t positive;        // items with q > 0
  int64_t bad, first_bad;  // NaN, infinite or negative
  int64_t bad_area, first_bad_area;
};

COLLOC_HD void add(PoolTotals& sum, const PoolTotals& part) {
  sum.sum += part.sum;
  sum.area += part.area;
  sum.largest = part.largest > sum.largest ? part.largest : sum.largest;
  sum.positive += part.positive;
  sum.bad += part.bad;
  sum.bad_area += part.bad_area;
  sum.first_bad = part.first_bad < sum.first_bad ? part.first_bad : sum.first_bad;
  sum.first_bad_area =
      part.first_bad_area < sum.first_bad_area ? part.first_bad_area : sum.first_bad_area;
}

// Items that are taken surely, q >= limit, and the sum of the others.
struct Certain {
  int64_t count;
  double rest;
};

COLLOC_HD void add(Certain& sum, const Certain& part) {
  sum.count += part.count;
  sum.rest += part.rest;
}

// Multinomial draws in ascending order are the first n of n + 1 arrivals of a Poisson process over
// the last one. They come in blocks: the time that a block takes is a Gamma variable, and inside it
// the arrivals are sums of exponentials in units of their own sum, which it is independent of.
constexpr int64_t draw_block = 512;

COLLOC_HD int64_t draw_blocks(int64_t n) { return (n + draw_block - 1) / draw_block; }

struct DrawKeys {
  uint64_t each, block;
};

COLLOC_HD DrawKeys draw_keys(uint64_t seed) { return {random_key(seed, 0), random_key(seed, 1)}; }

// The time of block b of n draws; of the time from the last draw to arrival n + 1 for b = blocks.
COLLOC_HD double block_time(DrawKeys keys, int64_t b, int64_t n) {
  const int64_t left = n - b * draw_block;
  const int64_t count = left < 1 ? 1 : (left < draw_block ? left : draw_block);
  return random_gamma(static_cast<double>(count), keys.block, static_cast<uint64_t>(b));
}

// Draw j of n where one falls into each n-th of [0, total), step = total / n: anywhere in it, or
// in all of them at the same place.
COLLOC_HD double stratified_place(DrawScheme scheme, DrawKeys keys, int64_t j, double step) {
  const bool same = scheme == DrawScheme::without_replacement;
  const double u = random_unit(keys.each, same ? 0 : static_cast<uint64_t>(j));
  return (static_cast<double>(j) + u) * step;
}

// weight = scale a max(least, level / q).
struct WeightFormula {
  double scale, level, least;
};

COLLOC_HD double draw_weight(const WeightFormula& w, double q, double a) {
  const double ratio = w.level / q;
  return w.scale * a * (ratio > w.least ? ratio : w.least);
}

}  // namespace colloc::math
