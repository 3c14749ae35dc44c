// The last kernel of op mlp_jet_fused_backward: adds up what its blocks summed, in the order of the
// blocks, and writes the gradients without padding.
#pragma once

#include "cuda/mlp_jet_fused_backward.h"

namespace colloc {

// One gradient.
struct FusedSum {
  enum Kind : int { square, rows, first };

  Kind kind;
  const float* from;  // of the first block
  int64_t stride;     // to the next one's
  int copies;         // 0: the gradient is 0
  // (height, width) of the gradient. Square: sums as in FusedSquare. Rows: (height, W). First: the
  // gradient (height, width) of the first layer's weight from rows (1 + n + width, W).
  int height, width;
  int n;
  int wrt[math::max_jet_inputs];
  float* to;
  int64_t first_block;  // of this kernel

  COLLOC_HD_MEMBER int64_t elements(int W) const {
    return int64_t{W} * (kind == square ? W : (kind == rows ? height : width));
  }
};

template <int W>
struct FusedSumsBody {
  static constexpr int threads = 256, least_blocks = 1, most = 40, parts = threads / warp_size;
  static constexpr int each = 4 * warp_size;  // elements of a block

  int count;
  FusedSum jobs[most];

  static size_t shared() { return 4 * threads * sizeof(double); }
  static int64_t blocks(const FusedSum& job) { return (job.elements(W) + each - 1) / each; }

  // Four elements to a lane; warps take turns with the copies.
  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& thread) const {
    int j = 0;
    while (j + 1 < count && jobs[j + 1].first_block <= thread.block()) ++j;
    const FusedSum& job = jobs[j];
    const int64_t at = (thread.block() - job.first_block) * each + thread.lane() * 4;
    double* all = reinterpret_cast<double*>(thread.shared());
    double sums[4] = {};
    if (at < job.elements(W)) part(job, at, thread.warp(), sums);
    COLLOC_UNROLL
    for (int e = 0; e < 4; ++e) all[e * threads + thread.thread()] = sums[e];
    thread.sync();
    if (thread.warp() > 0 || at >= job.elements(W)) return;
    COLLOC_UNROLL
    for (int e = 0; e < 4; ++e) {
      for (int i = 1; i < parts; ++i) sums[e] += all[e * threads + i * warp_size + thread.lane()];
      put(job, static_cast<int>(at) + e, static_cast<float>(sums[e]));
    }
  }

 private:
  COLLOC_BLOCK static void part(const FusedSum& job, int64_t at, int warp, double (&sums)[4]) {
    if (job.kind != FusedSum::first) return over_blocks(job, at, warp, sums);
    over_blocks(job, at + int64_t{W} * (1 + job.n), warp, sums);
    for (int i = 0; i < job.n; ++i) {
      if (job.wrt[i] == at / W) over_blocks(job, int64_t{W} * (1 + i) + at % W, warp, sums);
    }
  }

  COLLOC_BLOCK static void over_blocks(const FusedSum& job, int64_t at, int warp,
                                       double (&sums)[4]) {
    const float* from = job.from + at;
#if defined(__CUDACC__)
#pragma unroll 4
#endif
    for (int i = warp; i < job.copies; i += parts) {
      float x[4];
      fused_read4(x, from + i * job.stride);
      COLLOC_UNROLL
      for (int e = 0; e < 4; ++e) sums[e] += static_cast<double>(x[e]);
    }
  }

  COLLOC_BLOCK static void put(const FusedSum& job, int at, float sum) {
    int row = at / W, column = at % W;
    if (job.kind == FusedSum::square) {
      using Square = FusedSquare<W>;
      const int e = at % 4, lane = at / 4 % 32, tile = at / 128 % (Square::m_tiles * 4);
      const int warp = at / static_cast<int>(Square::of_warp);
      const int wn = warp % Square::across, wm = warp / Square::across;
      row = (wm * Square::m_tiles + tile / 4) * 16 + fused_column(lane / 4 + e / 2 * 8);
      column = wn * 32 + tile % 4 / 2 * 16 + fused_column(tile % 2 * 8 + lane % 4 * 2 + e % 2);
    } else if (job.kind == FusedSum::first) {
      row = at % W, column = at / W;
    }
    if (row < job.height && column < job.width) {
      job.to[int64_t{row} * job.width + column] = sum;
    }
  }
};

}  // namespace colloc
