// Op importance_sample on the CPU: prefix sums of chunks, draws by blocks, their weights.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <cmath>
#include <tuple>
#include <vector>

#include "common/box.h"
#include "common/importance_draws.h"
#include "common/importance_plan.h"
#include "cpu/select.h"
#include "cpu/shares.h"

namespace colloc {
namespace {

using math::DrawScheme;

// part(number, begin, end) for every chunk of the pool, whatever the number of threads.
template <typename Part>
void for_chunks(int64_t items, const Part& part) {
  const int64_t chunks = (items + pool_chunk - 1) / pool_chunk;
  torch::stable::parallel_for(0, chunks, 64, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      part(c, c * pool_chunk, std::min(items, (c + 1) * pool_chunk));
    }
  });
}

struct Pool {
  const double* q;
  int64_t items;
  Shares shares;
  math::PoolTotals totals;
  std::vector<double> starts;  // the sum before each chunk, and of all
};

void sum_up(std::vector<double>& starts) {
  double sum = 0.0;
  for (double& start : starts) {
    const double part = start;
    start = sum;
    sum += part;
  }
}

Pool open_pool(const Tensor& q, const Optional& area) {
  Pool pool{static_cast<const double*>(q.const_data_ptr()), q.size(0), shares_of(area), {}, {}};
  const int64_t chunks = (pool.items + pool_chunk - 1) / pool_chunk;
  std::vector<math::PoolTotals> parts(chunks);
  const PoolTotalsKernel kernel = COLLOC_SELECT(pool_totals);
  for_chunks(pool.items, [&](int64_t c, int64_t begin, int64_t end) {
    parts[c] = kernel(pool.q, pool.shares, begin, end);
  });
  pool.starts.resize(chunks + 1);
  pool.totals = parts[0];
  for (int64_t c = 0; c < chunks; ++c) {
    pool.starts[c] = parts[c].sum;
    if (c > 0) math::add(pool.totals, parts[c]);
  }
  sum_up(pool.starts);
  pool.totals.sum = pool.starts[chunks];
  return pool;
}

// Without replacement: the pool in random order.
std::vector<double> shuffle(Pool& pool, const std::vector<int64_t>& order) {
  std::vector<double> q(pool.items);
  torch::stable::parallel_for(0, pool.items, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) q[i] = pool.q[order[i]];
  });
  pool.q = q.data();
  return q;
}

// Without replacement: the limit, and the prefix sums without what is taken surely.
Inclusion include(Pool& pool, int64_t n) {
  const CertainKernel kernel = COLLOC_SELECT(certain);
  std::vector<math::Certain> parts(pool.starts.size());
  const auto count = [&](double limit) {
    for_chunks(pool.items, [&](int64_t c, int64_t begin, int64_t end) {
      parts[c] = kernel(pool.q, limit, begin, end);
    });
    math::Certain all{0, 0.0};
    for (const math::Certain& part : parts) math::add(all, part);
    return all;
  };
  const auto values = [&] { return std::vector<double>(pool.q, pool.q + pool.items); };
  const Inclusion found = inclusion(pool.totals, n, count, values);
  count(found.certain > 0 ? found.limit : no_limit);
  for (size_t c = 0; c < parts.size(); ++c) pool.starts[c] = parts[c].rest;
  sum_up(pool.starts);
  return found;
}

// Each block's beginning in the arrival times, their end, and the time of one arrival more.
std::vector<double> arrival_times(math::DrawKeys keys, int64_t n) {
  const int64_t blocks = math::draw_blocks(n);
  std::vector<double> times(blocks + 2);
  torch::stable::parallel_for(0, blocks + 1, 256, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) times[b + 1] = math::block_time(keys, b, n);
  });
  for (int64_t b = 0; b <= blocks; ++b) times[b + 1] += times[b];
  return times;
}

// What is taken surely among the others, in the pool's order.
void merge_certain(const Pool& pool, double limit, const std::vector<int64_t>& drawn,
                   int64_t* index) {
  size_t next = 0;
  for (int64_t i = 0; i < pool.items; ++i) {
    if (pool.q[i] > 0.0 && pool.q[i] >= limit) {
      *index++ = i;
    } else if (next < drawn.size() && drawn[next] == i) {
      *index++ = i;
      ++next;
    }
  }
}

template <typename T>
void sample(Pool& pool, WeightKernel<T> weigh, DrawScheme scheme, int64_t n, uint64_t seed,
            int64_t* index, T* weight) {
  const bool once = scheme == DrawScheme::without_replacement;
  const double* const q = pool.q;
  std::vector<int64_t> order;
  std::vector<double> mixed;
  if (once) mixed = shuffle(pool, order = draw_order(seed, pool.items));
  const Inclusion included = once ? include(pool, n) : Inclusion{no_limit, 0, pool.totals.sum};
  const int64_t drawn = n - included.certain;
  std::vector<int64_t> others(included.certain > 0 ? drawn : 0);
  const math::DrawKeys keys = math::draw_keys(seed);
  std::vector<double> times;
  if (scheme == DrawScheme::multinomial) times = arrival_times(keys, n);
  const Draws draws{scheme,
                    keys,
                    pool.q,
                    pool.items,
                    included.certain > 0 ? included.limit : no_limit,
                    pool.starts.data(),
                    static_cast<int64_t>(pool.starts.size()) - 1,
                    drawn,
                    times.data(),
                    included.certain > 0 ? others.data() : index};
  const math::WeightFormula formula = weight_formula(scheme, pool.totals, n, included.limit);
  const DrawKernel kernel = COLLOC_SELECT(draw);
  // Weights at once while the indices are at hand, where the draws are final.
  torch::stable::parallel_for(0, math::draw_blocks(drawn), 8, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; b += 8) {
      const int64_t stop = std::min(end, b + 8);
      kernel(draws, b, stop);
      if (once) continue;
      const int64_t first = b * math::draw_block;
      const int64_t count = std::min(n, stop * math::draw_block) - first;
      weigh(formula, q, pool.shares, index + first, count, weight + first);
    }
  });
  if (!once) return;
  separate(draws.index, drawn, pool.q, pool.items, draws.limit);
  if (included.certain > 0) merge_certain(pool, included.limit, others, index);
  torch::stable::parallel_for(0, n, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) index[j] = order[index[j]];
    weigh(formula, q, pool.shares, index + begin, end - begin, weight + begin);
  });
}

std::tuple<Tensor, Tensor> importance_sample(const Tensor& probabilities, int64_t n,
                                             const Optional& area, const std::string& scheme,
                                             int64_t seed, ScalarType dtype) {
  const DrawScheme chosen = check_draws(probabilities, n, area, scheme, dtype);
  const Tensor q = torch::stable::contiguous(probabilities);
  const Optional shares = dense(area);
  const auto device = probabilities.device();
  Tensor index = torch::stable::empty({n}, ScalarType::Long, std::nullopt, device);
  Tensor weight = torch::stable::empty({n}, dtype, std::nullopt, device);
  Pool pool = open_pool(q, shares);
  check_totals(pool.totals, chosen, n, pool.items);
  if (n == 0) return {index, weight};
  auto* indices = static_cast<int64_t*>(index.mutable_data_ptr());
  const auto key = static_cast<uint64_t>(seed);
  if (dtype == ScalarType::Float) {
    sample(pool, COLLOC_SELECT(weight_float), chosen, n, key, indices,
           static_cast<float*>(weight.mutable_data_ptr()));
  } else {
    sample(pool, COLLOC_SELECT(weight_double), chosen, n, key, indices,
           static_cast<double*>(weight.mutable_data_ptr()));
  }
  return {index, weight};
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CPU, m) {
  m.impl("importance_sample", COLLOC_BOX(&colloc::importance_sample));
}
