// The kernel that brings a network's parameters into the order of FusedWeights.
#pragma once

#include "cuda/mlp_jet_fused_split.h"

namespace colloc {

// The parameters as torch has them; an absent bias is null.
struct FusedSources {
  const float* weights[most_fused_layers + 1];  // (widths[l + 1], widths[l])
  const float* biases[most_fused_layers + 1];
  int widths[most_fused_layers + 2];  // inputs, hidden layers, outputs
};

template <int W>
struct FusedWeightsBody {
  static constexpr int threads = 128, least_blocks = 1, warps = threads / warp_size;
  static constexpr int each = 4 * warp_size;  // numbers that a warp copies

  FusedSources from;
  FusedWeights to;
  float* packed;

  COLLOC_HD_MEMBER int tiles() const { return 2 * (to.hidden - 1) * fused_tiles<W>; }

  BlockGrid grid() const {
    const int64_t jobs = tiles() + (to.square(1, 0) + each - 1) / each;
    return {(jobs + warps - 1) / warps, 0};
  }

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& thread) const {
    const int64_t job = thread.block() * warps + thread.warp();
    if (job < tiles()) return tile(thread, static_cast<int>(job));
    COLLOC_UNROLL
    for (int i = 0; i < each; i += warp_size) {
      const int64_t at = (job - tiles()) * each + i + thread.lane();
      if (at < to.square(1, 0)) packed[at] = value(at);
    }
  }

 private:
  COLLOC_BLOCK float weight(int l, int64_t row, int64_t column) const {
    const bool there = row < from.widths[l + 1] && column < from.widths[l];
    return there ? from.weights[l][row * from.widths[l] + column] : 0.0f;
  }

  COLLOC_BLOCK float bias(int l, int64_t row) const {
    return row < from.widths[l + 1] && from.biases[l] != nullptr ? from.biases[l][row] : 0.0f;
  }

  COLLOC_BLOCK float value(int64_t i) const {
    if (i < to.bias(0)) return weight(0, i % W, i / W);
    if (i < to.last()) {
      const int64_t at = i - to.bias(0);
      return bias(static_cast<int>(at / W), at % W);
    }
    if (i < to.last_bias()) {
      const int64_t at = i - to.last();
      return weight(to.hidden, at / W, at % W);
    }
    return bias(to.hidden, i - to.last_bias());
  }

  // Eight columns of a right factor.
  template <typename Thread>
  COLLOC_BLOCK void tile(const Thread& thread, int job) const {
    const int nt = job % fused_tiles<W>, below = job / fused_tiles<W> % 2;
    const int l = job / (2 * fused_tiles<W>)+1;
    const int lane = thread.lane(), n = nt * 8 + lane / 4, t = lane % 4;
    float all[W / 16][4];
    COLLOC_UNROLL
    for (int s = 0; s < W / 16; ++s) {
      COLLOC_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int k = s * 16 + fused_column(2 * t + e % 2 + e / 2 * 8);
        all[s][e] = below != 0 ? weight(l, k, n) : weight(l, n, k);
      }
    }
    const FusedUnit unit = fused_unit_of(thread, all);
    float* out = packed + to.square(l, below) + nt * 128 + lane * 4;
    COLLOC_UNROLL
    for (int s = 0; s < W / 16; ++s) {
      uint32_t high[2], low[2];
      fused_split(thread, all[s][0], all[s][1], unit, high[0], low[0]);
      fused_split(thread, all[s][2], all[s][3], unit, high[1], low[1]);
      const float words[4] = {math::bits_as<float>(high[0]), math::bits_as<float>(high[1]),
                              math::bits_as<float>(low[0]), math::bits_as<float>(low[1])};
      fused_write4(out + s * fused_tiles<W> * 128, words);
    }
    if (lane == 0) packed[to.units(l, below) + nt] = unit.unit;
  }
};

}  // namespace colloc
