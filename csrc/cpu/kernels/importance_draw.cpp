// Op importance_sample: sums over the pool, draws in ascending order, their weights.
#include "cpu/kernels/importance.h"
#include "cpu/kernels/shares.h"

namespace colloc::COLLOC_CAPABILITY {
namespace {

constexpr int lanes = 8;

// Sums in the same order with every instruction set, so that all draw the same.
double ordered_sum(const double* values, int64_t count) {
  double sums[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    for (int l = 0; l < lanes; ++l) sums[l] += values[i + l];
  }
  for (int l = 0; i < count; ++i, ++l) sums[l] += values[i];
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
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

// One chunk.
math::PoolTotals totals(const double* q, Shares shares, int64_t begin, int64_t end) {
  math::PoolTotals totals{0.0, 0.0, 0.0, 0, 0, INT64_MAX, 0, INT64_MAX};
  const int64_t count = end - begin;
  totals.sum = ordered_sum(q + begin, count);
  totals.bad = count_bad(q + begin, count, begin, totals.first_bad);
  double largest = 0.0;
  int64_t positive = 0;
#pragma omp simd reduction(max : largest) reduction(+ : positive)
  for (int64_t i = begin; i < end; ++i) {
    largest = q[i] > largest ? q[i] : largest;
    positive += q[i] > 0.0;
  }
  totals.largest = largest;
  totals.positive = positive;
  double a[pool_chunk];
  if (load_shares(shares, begin, count, 1.0, a)) {
    totals.area = ordered_sum(a, count);
    totals.bad_area = count_bad(a, count, begin, totals.first_bad_area);
  } else {
    totals.area = static_cast<double>(count);
  }
  return totals;
}

// One chunk.
math::Certain certainly(const double* q, double limit, int64_t begin, int64_t end) {
  double rest[pool_chunk];
  int64_t found = 0;
#pragma omp simd reduction(+ : found)
  for (int64_t i = begin; i < end; ++i) {
    const bool sure = q[i] > 0.0 && q[i] >= limit;
    found += sure;
    rest[i - begin] = sure ? 0.0 : q[i];
  }
  return {found, ordered_sum(rest, end - begin)};
}

// to[i] = start + from[0] + ... + from[i]. Four at a time, so that one addition a group depends on
// the group before; the order is fixed, and a value is never below the one before it.
void running_sum(const double* from, int64_t count, double start, double* to) {
  double sum = start;
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    const double two = from[i] + from[i + 1];
    const double other = from[i + 2] + from[i + 3];
    to[i] = sum + from[i];
    to[i + 1] = sum + two;
    to[i + 2] = sum + (two + from[i + 2]);
    sum += two + other;
    to[i + 3] = sum;
  }
  for (; i < count; ++i) to[i] = sum += from[i];
}

// How many of values[low..high), ascending, are not above x, plus low.
int64_t not_above(const double* values, int64_t low, int64_t high, double x) {
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (values[middle] <= x) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// The chunk at hand: its items' prefix sums.
struct Chunk {
  int64_t number = -1;
  double sums[pool_chunk];
};

void open_chunk(const Draws& d, int64_t number, Chunk& chunk) {
  const int64_t begin = number * pool_chunk;
  const int64_t count = d.items - begin < pool_chunk ? d.items - begin : pool_chunk;
  const double* q = d.q + begin;
  double rest[pool_chunk];
  if (d.limit <= math::largest_double) {
    for (int64_t i = 0; i < count; ++i) rest[i] = q[i] >= d.limit ? 0.0 : q[i];
    q = rest;
  }
  running_sum(q, count, d.starts[number], chunk.sums);
  // Whatever the rounding, the chunk's last item above 0 ends where the chunk ends.
  for (int64_t i = count - 1; i >= 0; --i) {
    chunk.sums[i] = HUGE_VAL;
    if (q[i] > 0.0) break;
  }
  chunk.number = number;
}

// One walk of the merge: from item i and place j on, one step for every item passed and every
// place settled. Numbers >= 0 are compared by their bits.
struct Walk {
  typedef int64_t __attribute__((may_alias)) Bits;
  int64_t i, j;

  inline __attribute__((always_inline)) void step(const Bits* sums, const Bits* places,
                                                  int64_t base, int64_t* index) {
    const int64_t pass = sums[i] <= places[j];
    index[j] = base + i;  // the last one written stays
    i += pass;
    j += 1 - pass;
  }
};

// Where `steps` steps of the merge lead from (first, 0).
Walk after_steps(const double* sums, int64_t first, int64_t last, const double* places,
                 int64_t count, int64_t steps) {
  int64_t low = steps - count > 0 ? steps - count : 0;
  int64_t high = last - first < steps ? last - first : steps;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (sums[first + middle] <= places[steps - middle - 1]) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return {first + low, steps - low};
}

// index[j] = base + the number of sums not above places[j], for ascending places. Four walks
// side by side: each step waits for the one before, and no step is a branch.
void merge(const double* sums, const double* places, int64_t count, int64_t base, int64_t known,
           int64_t* index) {
  const int64_t first = not_above(sums, 0, known, places[0]);
  const int64_t last = not_above(sums, first, known, places[count - 1]);
  const int64_t steps = last - first + count;
  const auto* s = reinterpret_cast<const Walk::Bits*>(sums);
  const auto* p = reinterpret_cast<const Walk::Bits*>(places);
  constexpr int walks = 4;
  const int64_t part = steps / walks;
  Walk w[walks];
  for (int k = 0; k < walks; ++k) w[k] = after_steps(sums, first, last, places, count, k * part);
  const int64_t turn[walks] = {0, w[1].j, w[2].j, w[3].j};
  Walk w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
  for (int64_t k = 0; k < part; ++k) {
    w0.step(s, p, base, index);
    w1.step(s, p, base, index);
    w2.step(s, p, base, index);
    w3.step(s, p, base, index);
  }
  for (int64_t k = walks * part; k < steps; ++k) w3.step(s, p, base, index);
  // A walk may have written on the place at which the next one began.
  for (int k = 1; k < walks; ++k) {
    int64_t i = w[k].i;
    while (sums[i] <= places[turn[k]]) ++i;
    index[turn[k]] = base + i;
  }
}

// The ascending places of one block of draws, in [0, sum).
void places_of(const Draws& d, int64_t b, int64_t count, double* places) {
  const double sum = d.starts[d.chunks];
  const int64_t first = b * math::draw_block;
  if (d.scheme != math::DrawScheme::multinomial) {
    const double step = sum / static_cast<double>(d.n);
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) {
      places[j] = math::stratified_place(d.scheme, d.keys, first + j, step);
    }
    return;
  }
  double each[math::draw_block];
#pragma omp simd
  for (int64_t j = 0; j < count; ++j) {
    each[j] = math::random_exponential(d.keys.each, static_cast<uint64_t>(first + j));
  }
  running_sum(each, count, 0.0, places);
  const double unit = sum / d.times[math::draw_blocks(d.n) + 1];
  const double begin = d.times[b] * unit, end = d.times[b + 1] * unit;
  const double scale = (end - begin) / places[count - 1];
#pragma omp simd
  for (int64_t j = 0; j < count; ++j) {
    const double place = begin + places[j] * scale;
    places[j] = place < end ? place : end;
  }
}

void draw_all(const Draws& d, int64_t begin, int64_t end) {
  double places[math::draw_block];
  Chunk chunk;
  const double sum = d.starts[d.chunks];
  const double below = std::nextafter(sum, 0.0);
  for (int64_t b = begin; b < end; ++b) {
    const int64_t first = b * math::draw_block;
    const int64_t count = d.n - first < math::draw_block ? d.n - first : math::draw_block;
    places_of(d, b, count, places);
    for (int64_t j = count - 1; j >= 0 && places[j] > below; --j) places[j] = below;
    for (int64_t j = 0; j < count;) {
      int64_t number = chunk.number < 0 ? 0 : chunk.number;
      if (d.starts[number + 1] <= places[j]) {  // the next one most often, or far away
        ++number;
        if (d.starts[number + 1] <= places[j]) {
          number = not_above(d.starts, number, d.chunks, places[j]) - 1;
        }
      }
      if (number != chunk.number) open_chunk(d, number, chunk);
      const double stop = d.starts[number + 1];
      const int64_t next = places[count - 1] < stop ? count : [&] {
        int64_t low = j, high = count;  // the first place not below stop
        while (low < high) {
          const int64_t middle = low + (high - low) / 2;
          if (places[middle] < stop) {
            low = middle + 1;
          } else {
            high = middle;
          }
        }
        return low;
      }();
      const int64_t base = number * pool_chunk;
      const int64_t known = d.items - base < pool_chunk ? d.items - base : pool_chunk;
      merge(chunk.sums, places + j, next - j, base, known, d.index + first + j);
      j = next;
    }
  }
}

template <typename T, typename Share>
void weigh(const math::WeightFormula& formula, const double* q, const int64_t* index, int64_t count,
           Share share, T* weight) {
  for (int64_t j = 0; j < count; ++j) {
    weight[j] = static_cast<T>(math::draw_weight(formula, q[index[j]], share(index[j])));
  }
}

template <typename T>
void weights(const math::WeightFormula& formula, const double* q, Shares shares,
             const int64_t* index, int64_t count, T* weight) {
  if (shares.single != nullptr) {
    const auto share = [&](int64_t i) { return static_cast<double>(shares.single[i]); };
    weigh(formula, q, index, count, share, weight);
  } else if (shares.wide != nullptr) {
    weigh(formula, q, index, count, [&](int64_t i) { return shares.wide[i]; }, weight);
  } else {
    weigh(formula, q, index, count, [](int64_t) { return 1.0; }, weight);
  }
}

}  // namespace

const PoolTotalsKernel pool_totals = totals;
const CertainKernel certain = certainly;
const DrawKernel draw = draw_all;
const WeightKernel<float> weight_float = weights<float>;
const WeightKernel<double> weight_double = weights<double>;

}  // namespace colloc::COLLOC_CAPABILITY
