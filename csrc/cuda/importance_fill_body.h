// Fills a tree of sums (importance_sums_body.h) on the GPU, level by level.
#pragma once

#include "cuda/importance_sums_body.h"

namespace colloc {

// What a warp that fills 32 entries needs of shared memory: their values, which threads load side
// by side and each sums up for itself.
constexpr int fill_row = fan + 1;  // odd for the banks
constexpr int fill_memory = fan * fill_row;

// Fills 32 entries of a level, from `begin` on, by one warp; the level below becomes running sums.
template <typename Thread>
COLLOC_BLOCK void fill_entries(const Thread& t, const SumTree& tree, int filled, int64_t begin) {
  double* rows = reinterpret_cast<double*>(t.shared()) + t.warp() * fill_memory;
  double* below = filled > 0 ? tree.level[filled - 1] : nullptr;
  const int64_t left = (filled > 0 ? tree.size[filled - 1] : tree.count) - begin * fan;
  constexpr int together = 16;  // loads before any is stored
#pragma unroll 1
  for (int from = 0; from < fan; from += together) {
    double value[together];
#pragma unroll
    for (int k = 0; k < together; ++k) {
      const int64_t at = (from + k) * fan + t.lane();
      value[k] = 0.0;
      if (at < left) {
        value[k] = filled > 0 ? below[begin * fan + at] : tree.value(begin * fan + at);
      }
    }
#pragma unroll
    for (int k = 0; k < together; ++k) rows[(from + k) * fill_row + t.lane()] = value[k];
  }
  t.sync_warp();
  double* own = rows + t.lane() * fill_row;
  double sum = 0.0;
#pragma unroll
  for (int k = 0; k < fan; k += 8) {
    double some[8];
#pragma unroll
    for (int e = 0; e < 8; ++e) some[e] = own[k + e];
#pragma unroll
    for (int e = 0; e < 8; ++e) own[k + e] = sum += some[e];
  }
  if (begin + t.lane() < tree.size[filled]) tree.level[filled][begin + t.lane()] = sum;
  t.sync_warp();
  if (filled > 0) {
#pragma unroll 8
    for (int k = 0; k < fan; ++k) {
      const int64_t at = k * fan + t.lane();
      if (at < left) below[begin * fan + at] = rows[k * fill_row + t.lane()];
    }
  }
  t.sync_warp();
}

struct TreeBody {
  static constexpr int threads = 64, least_blocks = 8;
  SumTree tree;
  int filled;

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& t) const {
    const int64_t begin = (t.block() * (threads / warp_size) + t.warp()) * fan;
    if (begin < tree.size[filled]) fill_entries(t, tree, filled, begin);
  }

  BlockGrid grid() const {
    return {(tree.size[filled] + threads - 1) / threads,
            threads / warp_size * fill_memory * sizeof(double)};
  }
};

// Levels from `first` on by one block, one after the other.
template <typename Thread>
COLLOC_BLOCK void fill_top(const Thread& t, const SumTree& tree, int first) {
  for (int l = first; l < tree.levels; ++l) {
    t.sync();
    for (int64_t begin = t.warp() * fan; begin < tree.size[l]; begin += t.threads()) {
      fill_entries(t, tree, l, begin);
    }
  }
}

struct TreeTopBody {
  static constexpr int threads = 256, least_blocks = 1;
  static constexpr size_t memory = threads / warp_size * fill_memory * sizeof(double);
  SumTree tree;
  int first;

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& t) const {
    fill_top(t, tree, first);
  }

  BlockGrid grid() const { return {1, memory}; }
};

// Fills levels from `first` on by many blocks; the next one is so short that one block fills the
// rest.
template <typename Device>
int fill_wide(const SumTree& tree, Device& device, int first) {
  constexpr int64_t one_block = 1024;
  int l = first;
  for (; l < tree.levels && tree.size[l] > one_block; ++l) {
    const TreeBody level{tree, l};
    device.run_blocks(level, level.grid());
  }
  return l;
}

}  // namespace colloc
