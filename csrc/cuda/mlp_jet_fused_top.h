// The first kernel of op mlp_jet_fused_backward: from the gradient by a perceptron's jets into its
// last hidden layer.
#pragma once

#include "cuda/mlp_jet_fused_adjoint.h"

namespace colloc {

// What goes from the last layer into the last hidden one.
struct FusedTop {
  FusedPart part;
  FusedFirst first;
  FusedSums sums;
  const float* grad;  // (N, K, m)
  const float* last;  // the last layer's weight, (m, W)
  int outputs;
  int64_t padded;  // groups, all of whose gradients are written
  bool store;      // the gradients
};

template <typename Form, int W>
struct FusedTopBody {
  static constexpr int threads = 256, least_blocks = 2;
  static constexpr int K = FusedJet<Form>::size, n = Form::inputs;
  using Warps = FusedWarps<W>;
  using Adjoint = FusedAdjoint<Form, W>;
  using Image = FusedImage<W>;

  FusedTop p;

  // The sums of a row of warps: of the first layer, the last layer's weight, its bias.
  static COLLOC_HD_MEMBER int slots(const FusedFirst& first, int outputs) {
    return Warps::slots(first) / Warps::rows + (outputs + 1) * W;
  }
  static size_t shared(const FusedFirst& first, int outputs) {
    return Warps::rows * slots(first, outputs) * sizeof(float);
  }

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& thread) const {
    const FusedLane<W> lane(thread);
    float* slots = thread.shared() + this->slots(p.first, p.outputs) * lane.warp_row;
    float* last = slots + Warps::slots(p.first) / Warps::rows;
    Adjoint::clear(slots, lane, p.first.wanted() ? p.first.inputs : 0);
    Adjoint::clear(last, lane, p.outputs + 1);
    thread.sync_warp();  // the bias's sums are one lane's, what it adds to another one's zeros
    float sums[2][1 + n][2] = {}, y[K][4];
    const int64_t begin = thread.block() * Warps::rows + lane.warp_row;
    const int64_t step = thread.blocks() * Warps::rows;
    if (begin < p.padded) Adjoint::load(thread, p.part, p.first, begin, lane, 0, y);
    // One piece of code for both tiles of a group, which take turns.
    float before[K][4] = {};
    int j = 0;
    COLLOC_NO_UNROLL
    for (int64_t group = begin; group < p.padded;) {
      const int64_t next_group = group + (j == 0 ? 0 : step);
      float g[K][4] = {}, next[K][4] = {};
      if (next_group < p.padded) {
        Adjoint::load(thread, p.part, p.first, next_group, lane, 1 - j, next);
      }
      const int64_t point = p.part.first_point + group * fused_group + lane.g;
      COLLOC_NO_UNROLL
      for (int o = 0; o < p.outputs; ++o) {
        float weight[2], a[K][2];
        thread.load2(weight, p.last + o * W + lane.column(j));
        load_grad(thread, point, o, a);
        COLLOC_UNROLL
        for (int k = 0; k < K; ++k) {
          COLLOC_UNROLL
          for (int e = 0; e < 4; ++e) g[k][e] += a[k][e / 2] * weight[e % 2];
        }
      }
      Adjoint::apply(p.part.kind, y, g);
      COLLOC_NO_UNROLL
      for (int o = 0; o < p.outputs; ++o) {
        float a[K][2], sum[2] = {};
        load_grad(thread, point, o, a);
        COLLOC_UNROLL
        for (int k = 0; k < K; ++k) {
          COLLOC_UNROLL
          for (int e = 0; e < 4; ++e) sum[e % 2] += a[k][e / 2] * g[k][e];
        }
        COLLOC_UNROLL
        for (int v = 0; v < 2; ++v) sum[v] = sum_over_points(thread, sum[v]);
        if (lane.g == 0) {
          last[o * W + lane.column(j)] += sum[0];
          last[o * W + lane.column(j) + 1] += sum[1];
        }
        if (lane.slice > 0 || j > 0) continue;
        const float of_bias = sum_over_points(thread, a[0][0] + a[0][1]);
        if (lane.lane == 0) last[p.outputs * W + o] += of_bias;
      }
      Adjoint::keep(thread, p.part, p.first, group, lane, j, y, sums[0], slots);
      if (p.store && j == 1) {
        Adjoint::template write<true>(thread, p.part.delta + group * Image::words(K),
                                      p.part.units + group * Image::units(K), lane, before, y);
      }
      fused_turn(sums);
      COLLOC_UNROLL
      for (int e = 0; e < K * 4; ++e) {
        before[e / 4][e % 4] = y[e / 4][e % 4];
        y[e / 4][e % 4] = next[e / 4][e % 4];
      }
      group = next_group;
      j = 1 - j;
    }
    float* to = p.sums.at + (thread.block() * Warps::rows + lane.warp_row) * p.sums.rows * W;
    Adjoint::give(thread, p.first, p.sums.begin, lane, sums, to);
    thread.sync_warp();
    Adjoint::give_slots(slots, lane, p.first.wanted() ? p.first.inputs : 0, p.sums.begin,
                        to + (1 + n) * W);
    Adjoint::give_slots(last, lane, p.outputs + 1, p.sums.begin,
                        to + (p.first.wanted() ? 1 + n + p.first.inputs : 1) * W);
  }

 private:
  // Of the lane's two points; past the end all gradients are 0.
  template <typename Thread>
  COLLOC_BLOCK void load_grad(const Thread& thread, int64_t point, int o, float (&a)[K][2]) const {
    const float* from = p.grad + (point * K) * p.outputs + o;
    COLLOC_UNROLL
    for (int i = 0; i < 2; ++i) {
      const bool there = point + i * 8 < p.part.points;
      COLLOC_UNROLL
      for (int k = 0; k < K; ++k) {
        a[k][i] = there ? thread.load(from + (i * 8 * K + k) * p.outputs) : 0.0f;
      }
    }
  }
};

}  // namespace colloc
