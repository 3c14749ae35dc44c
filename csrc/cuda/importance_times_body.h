// Multinomial draws in ascending order on the GPU: the times at which they come
// (math/importance.h).
#pragma once

#include "cuda/importance_sums_body.h"

namespace colloc {

constexpr int64_t groups_a_block = math::draw_block / fan;

// Multinomial: the time that each block of draws takes, and inside it running sums of its
// exponentials at the end of every 32.
struct TimesBody {
  math::DrawKeys keys;
  int64_t n;
  double* times;   // blocks + 1
  double* groups;  // of all draws, 32 each

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t b = thread.global; b <= math::draw_blocks(n); b += thread.total) {
      times[b] = math::block_time(keys, b, n);
      double sum = 0.0;
      for (int64_t g = b * groups_a_block; g * fan < n && g < (b + 1) * groups_a_block; ++g) {
        groups[g] = sum += groups[g];
      }
    }
  }

  Grid grid() const { return grid_for(math::draw_blocks(n) + 1, 132 * 16, 64); }
};

// When each block of draws begins, and the last one ends.
struct StartsBody {
  SumTree times;
  double* starts;  // as many as times

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t b = thread.global; b < times.count; b += thread.total) {
      starts[b] = times.before(b);
    }
  }

  Grid grid() const { return grid_for(times.count, 132 * 16, 64); }
};

// The exponentials of all draws, as running sums in each 32, and the sums of these.
struct ExponentialBody {
  static constexpr int threads = 256, least_blocks = 4;

  math::DrawKeys keys;
  int64_t n;
  double* within;  // (n)
  double* groups;

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& t) const {
    const int64_t step = t.blocks() * threads;
    for (int64_t first = t.block() * threads + t.warp() * warp_size; first < n; first += step) {
      const int64_t j = first + t.lane();
      const double own =
          j < n ? math::random_exponential(keys.each, static_cast<uint64_t>(j)) : 0.0;
      const LaneSums sums = lane_sums(t, own);
      if (j < n) within[j] = sums.until;
      if (t.lane() == 0) groups[first / fan] = sums.all;
    }
  }

  BlockGrid grid() const { return {total_blocks(n), 0}; }
};

}  // namespace colloc
