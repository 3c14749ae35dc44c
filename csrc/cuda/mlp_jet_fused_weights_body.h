// The work of one thread of the kernel that brings a network's parameters into the order of
// FusedWeights.
#pragma once

#include "common/thread_index.h"
#include "cuda/mlp_jet_fused_layout.h"

namespace colloc {

// The parameters as torch has them; an absent bias is null.
struct FusedSources {
  const float* weights[most_fused_layers + 1];  // (widths[l + 1], widths[l])
  const float* biases[most_fused_layers + 1];
  int widths[most_fused_layers + 2];  // inputs, hidden layers, outputs
};

struct FusedWeightsBody {
  FusedSources from;
  FusedWeights to;
  float* packed;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    const int64_t size = to.size();
    for (int64_t i = thread.global; i < size; i += thread.total) packed[i] = value(i);
  }

  COLLOC_HD_MEMBER float weight(int l, int64_t row, int64_t column) const {
    const bool there = row < from.widths[l + 1] && column < from.widths[l];
    return there ? from.weights[l][row * from.widths[l] + column] : 0.0f;
  }

  COLLOC_HD_MEMBER float bias(int l, int64_t row) const {
    return row < from.widths[l + 1] && from.biases[l] != nullptr ? from.biases[l][row] : 0.0f;
  }

  COLLOC_HD_MEMBER float value(int64_t i) const {
    const int64_t width = to.width;
    if (i < to.bias(0)) return weight(0, i % width, i / width);
    if (i < to.last()) {
      const int64_t at = i - to.bias(0);
      return bias(static_cast<int>(at / width), at % width);
    }
    if (i < to.last_bias()) {
      const int64_t at = i - to.last();
      return weight(to.hidden, at / width, at % width);
    }
    if (i < to.forward(1)) return bias(to.hidden, i - to.last_bias());
    return forward(i - to.forward(1));
  }

  // Element i of fragments in the order {b0, b1} of two tiles.
  COLLOC_HD_MEMBER float forward(int64_t i) const {
    const int64_t square = int64_t{to.width} * to.width, at = i % square, tiles = to.width / 8;
    const int64_t part = at % 4, lane = at / 4 % 32, pair = at / 128 % (tiles / 2);
    const int64_t kt = at / 128 / (tiles / 2);
    const int64_t k = kt * 8 + lane % 4 + 4 * (part % 2);
    const int64_t n = (pair * 2 + part / 2) * 8 + lane / 4;
    return weight(static_cast<int>(i / square) + 1, n, k);
  }

  Grid grid() const { return grid_for(to.size(), 132 * 8); }
};

}  // namespace colloc
