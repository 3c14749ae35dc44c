// Importance sampling: what follows from sums over the pool, wherever these are made.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "math/importance.h"

namespace colloc {

// The floor in the units of the measures' powers, and these units.
struct Scaling {
  math::MeasureUnits units;
  double floor;
};

// Whether the sums that were made in units of 1 can have overflown or vanished.
inline bool needs_scaling(const math::MeasureTotals& totals, double power, double floor) {
  const auto far = [](double exponent) { return !(std::abs(exponent) < 400.0); };
  const double measure = totals.largest > 0.0 ? power * std::log2(totals.largest) : 0.0;
  const double area = std::log2(totals.largest_area);
  const double added = floor > 0.0 ? std::log2(floor) : 0.0;
  return far(measure) || far(area) || far(added) || far(measure + area) || far(added + area);
}

// Units in which the largest measure is about 1, or less where the floor is above its power.
inline Scaling scaling(const math::MeasureTotals& totals, double power, double floor, bool wide) {
  Scaling s{{}, floor};
  double measure = 0.0;
  if (totals.largest > 0.0) {
    const double exponent = std::log2(totals.largest);
    // Squares of float32 entries are safe in double as they are.
    if (wide) s.units.entry = std::exp2(-std::clamp(std::round(exponent), -1000.0, 1000.0));
    s.units.measure = 1.0 / (totals.largest * s.units.entry);
    measure = power * exponent;
  }
  if (floor > 0.0) {
    const double above = std::log2(floor) - measure;
    s.units.powered = std::exp2(-std::max(above, 0.0));
    s.floor = std::exp2(std::min(above, 0.0));
  }
  s.units.area = 1.0 / std::max(totals.largest_area, 1e-300);
  return s;
}

// q = (m a + shift a) factor. Also made on the GPU.
struct Normalisation {
  double shift, factor;
  bool uniform;  // nothing but zeros: the shares of area
};

COLLOC_HD Normalisation normalisation(const math::MeasureTotals& totals, double floor,
                                      double relative_floor) {
  // From here on the relative floor alone counts.
  const double relative = relative_floor < 1e100 ? relative_floor : 1e100;
  const double shift = floor + relative * (totals.weighted / totals.area);
  const double total = totals.weighted + shift * totals.area;
  if (total == 0.0) return {1.0, 1.0 / totals.area, true};
  return {shift, 1.0 / total, false};
}

// Without replacement item i is drawn with probability min(1, q_i / limit), limit such that these
// sum to n. `certain` of them are taken surely; the others' q sum to `rest`.
struct Inclusion {
  double limit;
  int64_t certain;
  double rest;
};

constexpr double no_limit = std::numeric_limits<double>::infinity();

// The limit from the values in descending order.
inline Inclusion sorted_inclusion(std::vector<double> values, int64_t n) {
  std::sort(values.begin(), values.end(), std::greater<double>());
  std::vector<double> rest(values.size() + 1, 0.0);
  for (size_t i = values.size(); i-- > 0;) rest[i] = rest[i + 1] + values[i];
  int64_t k = 0;
  while (k < n && values[k] >= rest[k] / static_cast<double>(n - k)) ++k;
  // Equal ones are taken together.
  const double limit = k < n ? rest[k] / static_cast<double>(n - k) : values[k - 1];
  return {limit, k, rest[k]};
}

// count(limit) -> math::Certain: a pass over the pool. Taking the certain ones out lowers the
// limit, which makes others certain; that mostly ends after a few passes. values() -> all q.
template <typename Count, typename Values>
Inclusion inclusion(const math::PoolTotals& totals, int64_t n, const Count& count,
                    const Values& values) {
  constexpr int most_passes = 40;
  if (n == totals.positive) return {std::numeric_limits<double>::denorm_min(), n, 0.0};
  Inclusion now{totals.sum / static_cast<double>(n), 0, totals.sum};
  if (totals.largest < now.limit) return now;
  for (int pass = 0; pass < most_passes; ++pass) {
    const math::Certain found = count(now.limit);
    if (found.count == now.certain) return now;
    now.certain = found.count;
    now.rest = found.rest;
    if (now.certain >= n) return now;
    now.limit = now.rest / static_cast<double>(n - now.certain);
  }
  return sorted_inclusion(values(), n);
}

inline math::WeightFormula weight_formula(math::DrawScheme scheme, const math::PoolTotals& totals,
                                          int64_t n, double limit) {
  if (scheme != math::DrawScheme::without_replacement) return {1.0 / totals.area, totals.sum, 0.0};
  return {static_cast<double>(n) / totals.area, limit, 1.0};
}

// Without replacement, draws at equal distances go through the pool in random order: one that is a
// low-discrepancy sequence has periods of its own, so that every 16th of Halton's points lies in a
// strip of a sixteenth. Fisher and Yates' shuffle, on the host for the GPU too: bijections that
// find each place by itself (Feistel networks of a few rounds) are not random enough, and double
// the variance of a draw of half a pool.
inline std::vector<int64_t> draw_order(uint64_t seed, int64_t items) {
  const uint64_t key = math::random_key(seed, 2);
  std::vector<int64_t> order(items);
  for (int64_t i = 0; i < items; ++i) {
    // The upper half of bits (i + 1): below i + 1, and even up to 2^-64 (i + 1).
    const unsigned __int128 wide = static_cast<unsigned __int128>(math::random_bits(key, i));
    const auto place = static_cast<int64_t>((wide * static_cast<uint64_t>(i + 1)) >> 64);
    order[i] = order[place];
    order[place] = i;
  }
  return order;
}

// Where an item's probability is within rounding of 1, two places can fall into it: the second
// moves on to the next item of 0 < q < limit that is free, or back where none follows.
inline void separate(int64_t* index, int64_t count, const double* q, int64_t items, double limit) {
  const auto eligible = [&](int64_t i) { return q[i] > 0.0 && q[i] < limit; };
  int64_t last = -1;
  for (int64_t j = 0; j < count; ++j) {
    int64_t i = std::max(index[j], last + 1);
    if (i != index[j]) {
      while (i < items && !eligible(i)) ++i;
    }
    index[j] = last = i;
  }
  int64_t next = items;
  for (int64_t j = count; j-- > 0 && index[j] >= next;) {
    int64_t i = next - 1;
    while (i > 0 && !eligible(i)) --i;
    index[j] = next = i;
  }
}

}  // namespace colloc
