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
    float sums[2][1 + n][2] = {};
    const int64_t begin = thread.block() * Warps::rows + lane.warp_row;
    const int64_t step = thread.blocks() * Warps::rows;
    COLLOC_NO_UNROLL
    for (int64_t group = begin; group < p.padded; group += step) {
      Adjoint::prefetch(thread, p.part, p.first, group + step, lane);
      float y[2][K][4], g[2][K][4] = {};
      Adjoint::load(thread, p.part, p.first, group, lane, 0, y[0]);
      Adjoint::load(thread, p.part, p.first, group, lane, 1, y[1]);
      const int64_t point = p.part.first_point + group * fused_group + lane.g;
      COLLOC_NO_UNROLL
      for (int o = 0; o < p.outputs; ++o) {
        float weight[2][2], a[K][2];
        thread.load2(weight[0], p.last + o * W + lane.column(0));
        thread.load2(weight[1], p.last + o * W + lane.column(1));
        load_grad(thread, point, o, a);
        COLLOC_UNROLL
        for (int k = 0; k < K; ++k) {
          COLLOC_UNROLL
          for (int e = 0; e < 8; ++e) g[e / 4][k][e % 4] += a[k][e % 4 / 2] * weight[e / 4][e % 2];
        }
      }
      COLLOC_UNROLL
      for (int j = 0; j < 2; ++j) {
        Adjoint::apply(p.part.kind, y[j], g[j]);
        Adjoint::keep(thread, p.part, p.first, group, lane, j, y[j], sums[j], slots);
      }
      if (p.store) {
        Adjoint::template write<true>(thread, p.part.delta + group * Image::words(K),
                                      p.part.units + group * Image::units(K), lane, y[0], y[1]);
      }
      COLLOC_NO_UNROLL
      for (int o = 0; o < p.outputs; ++o) {
        float a[K][2];
        load_grad(thread, point, o, a);
        COLLOC_UNROLL
        for (int v = 0; v < 4; ++v) {
          float sum = 0.0f;
          COLLOC_UNROLL
          for (int k = 0; k < K; ++k) {
            sum += a[k][0] * g[v / 2][k][v % 2] + a[k][1] * g[v / 2][k][2 + v % 2];
          }
          sum = sum_over_points(thread, sum);
          if (lane.g == 0) last[o * W + lane.column(v / 2) + v % 2] += sum;
        }
        if (lane.slice > 0) continue;
        const float of_bias = sum_over_points(thread, a[0][0] + a[0][1]);
        if (lane.lane == 0) last[p.outputs * W + o] += of_bias;
      }
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
