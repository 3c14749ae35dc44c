// The jet of a whole perceptron in one kernel. Eight warps take some groups of 16 points through
// all layers; their jets stay in shared memory, and a warp makes all components of its group in a
// slice of the neurons, so that activations are composed in registers.
//
// A product in float32 is made of products of operands with 10 bits of fraction: x = hi + lo and
// a b = lo hi + hi lo + hi hi (Ootomo and Yokota, doi:10.1177/10943420221090256, without their
// sums outside of the tensor cores).
#pragma once

#include "cuda/mlp_jet_fused_activation.h"
#include "cuda/mlp_jet_fused_layout.h"

namespace colloc {

// The operand's part x = hi of a product and, where it is `Exact`, the rest lo = x - hi. Halves are
// rounded away from 0; the bits of hi that are cut off here the tensor cores do not read. (A NaN
// may leave hi, but not lo.)
template <bool Exact, typename Thread>
COLLOC_BLOCK void fused_split(const Thread& thread, float x, uint32_t& high, uint32_t& low) {
  if constexpr (Exact) {
    high = math::bits_as<uint32_t>(x) + 0x1000u;
    low = math::bits_as<uint32_t>(x - math::bits_as<float>(high & 0xffffe000u));
  } else {
    high = thread.to_tf32(x);
  }
}

template <math::JetOrder O, int n, int W>
struct FusedForwardBody {
  using Form = math::JetForm<O, n>;
  static constexpr int K = Form::size;
  static constexpr int slice_tiles = K <= 4 ? 4 : 2;  // of 8 neurons; K * this * 4 accumulators
  static constexpr int slices = W / 8 / slice_tiles;
  static constexpr int warps = 8;
  static constexpr int groups = warps / slices;  // in a block
  static constexpr int threads = warps * warp_size;
  static constexpr int least_blocks = 2;
  static constexpr int image = K * fused_group * W;  // floats of a group's jets

  FusedNetwork net;
  int64_t first;  // of the groups
  int count;
  float* out;   // (points, K, outputs), or null
  float* kept;  // FusedKept of kept_groups groups from `first` on; may be null
  int kept_groups;
  bool exact;  // three products, or hi hi alone

  using Sums = float[K][slice_tiles][4];

  // A thread's place in its warp's part of the work.
  struct Place {
    int lane, row, column;  // of the accumulators: row and row + 8, column and column + 1
    float* jets;            // of the group
    int group;              // from `first` on
  };

  static BlockGrid grid(int count, int most) {
    const int wanted = (count + groups - 1) / groups;
    return {wanted < most ? wanted : most, sizeof(float) * image * groups};
  }

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& thread) const {
    const int slice = thread.warp() % slices, member = thread.warp() / slices;
    Place at;
    at.lane = thread.lane();
    at.row = at.lane / 4;
    at.column = slice * slice_tiles * 8 + at.lane % 4 * 2;
    at.jets = thread.shared() + member * image;
    const FusedWeights weights{W, net.inputs, net.hidden, net.outputs};
    const int step = static_cast<int>(thread.blocks()) * groups;
    for (int begin = static_cast<int>(thread.block()) * groups; begin < count; begin += step) {
      at.group = begin + member;
      Sums sums = {};
      for (int l = 0; l < net.hidden; ++l) {
        if (l > 0) {
          const float* b = net.packed + weights.forward(l) + slice * slice_tiles * 64 + at.lane * 4;
          if (exact) {
            multiply<true>(thread, at, b, sums);
          } else {
            multiply<false>(thread, at, b, sums);
          }
          thread.sync();  // all have read
        }
        activate(thread, at, weights, l, sums);
        thread.sync();
      }
      if (out != nullptr) {
        last_layer(thread, weights, begin);
        thread.sync();
      }
    }
  }

  // sums = h W^T for the group's jets and the slice's neurons.
  template <bool Exact, typename Thread>
  COLLOC_BLOCK void multiply(const Thread& thread, const Place& at, const float* b,
                             Sums& sums) const {
    constexpr int pairs = slice_tiles / 2, step = W * 8;
    float next[pairs][4];
    COLLOC_UNROLL
    for (int j = 0; j < pairs; ++j) thread.load4(next[j], b + j * 128);
    clear(sums);
    // Matrices of load_matrix: rows 0..7 and 8..15 of one chunk, the same of the next chunk.
    int start = fused_image<W>(0, at.lane % 16, at.lane / 16 * 4);
    COLLOC_ROLLED
    for (int c = 0; c < W; c += 32) {  // columns: eight chunks, within which the order changes
      COLLOC_UNROLL
      for (int r = 0; r < 4; ++r) {
        uint32_t b_high[slice_tiles][2], b_low[slice_tiles][2];
        COLLOC_UNROLL
        for (int i = 0; i < slice_tiles * 2; ++i) {
          fused_split<Exact>(thread, next[i / 4][i % 4], b_high[i / 2][i % 2], b_low[i / 2][i % 2]);
        }
        if (r < 3 || c + 32 < W) b += step;
        COLLOC_UNROLL
        for (int j = 0; j < pairs; ++j) thread.load4(next[j], b + j * 128);
        const float* rows = at.jets + (start ^ (8 * r));
        COLLOC_UNROLL
        for (int k = 0; k < K; ++k) {
          uint32_t a_high[4], a_low[4];
          thread.load_matrix(a_low, rows + k * fused_group * W);
          COLLOC_UNROLL
          for (int e = 0; e < 4; ++e) {
            fused_split<Exact>(thread, math::bits_as<float>(a_low[e]), a_high[e], a_low[e]);
          }
          if constexpr (Exact) {
            COLLOC_UNROLL
            for (int j = 0; j < slice_tiles; ++j) thread.mma(sums[k][j], a_low, b_high[j]);
            COLLOC_UNROLL
            for (int j = 0; j < slice_tiles; ++j) thread.mma(sums[k][j], a_high, b_low[j]);
          }
          COLLOC_UNROLL
          for (int j = 0; j < slice_tiles; ++j) thread.mma(sums[k][j], a_high, b_high[j]);
        }
      }
      start += 32;
    }
  }

  COLLOC_BLOCK static void clear(Sums& sums) {
    COLLOC_UNROLL
    for (int k = 0; k < K; ++k) {
      COLLOC_UNROLL
      for (int i = 0; i < slice_tiles * 4; ++i) sums[k][i / 4][i % 4] = 0.0f;
    }
  }

  // The first tile of the slice, after which the others move up: unrolled over the tiles, what
  // follows would be too long for the cache of instructions.
  COLLOC_BLOCK static void take(Sums& sums, float (&y)[K][4]) {
    COLLOC_UNROLL
    for (int k = 0; k < K; ++k) {
      COLLOC_UNROLL
      for (int e = 0; e < 4; ++e) {
        y[k][e] = sums[k][0][e];
        COLLOC_UNROLL
        for (int i = 1; i < slice_tiles; ++i) sums[k][i - 1][e] = sums[k][i][e];
      }
    }
  }

  // Hidden layer l from its products: bias, what is kept, activation, into shared memory.
  template <typename Thread>
  COLLOC_BLOCK void activate(const Thread& thread, const Place& at, const FusedWeights& weights,
                             int l, Sums& sums) const {
    const FusedKept<W, K> keeping{kept_groups};
    const bool keep = kept != nullptr && at.group < kept_groups;
    const auto kind = static_cast<math::Kind>(net.kinds[l]);
    COLLOC_ROLLED
    for (int j = 0; j < slice_tiles; ++j) {
      const int column = at.column + j * 8;
      float y[K][4], bias[2];
      thread.load2(bias, net.packed + weights.bias(l) + column);
      if (l == 0) {
        first_layer(thread, at, column, y);
      } else {
        take(sums, y);
      }
      COLLOC_UNROLL
      for (int e = 0; e < 4; ++e) y[0][e] += bias[e % 2];
      if (keep) {
        COLLOC_UNROLL
        for (int k = 0; k < K; ++k) {
          if (k > 0 && l == 0) continue;
          thread.store4(kept + keeping.at(l, at.group, column / 8, k, at.lane), y[k]);
        }
      }
      if (out == nullptr && l + 1 == net.hidden) continue;
      float f[4][Form::degree + 1];
      fused_derivatives<Form::degree>(kind, y[0], f);
      COLLOC_UNROLL
      for (int e = 0; e < 4; ++e) {
        float point[K], h[K];
        COLLOC_UNROLL
        for (int k = 0; k < K; ++k) point[k] = y[k][e];
        math::jet_compose<O, n>(point, f[e], h);
        COLLOC_UNROLL
        for (int k = 0; k < K; ++k) y[k][e] = h[k];
      }
      float* to = at.jets + fused_image<W>(0, at.row, column);
      COLLOC_UNROLL
      for (int k = 0; k < K; ++k) {
        thread.write2(to + k * fused_group * W, y[k][0], y[k][1]);
        thread.write2(to + (k * fused_group + 8) * W, y[k][2], y[k][3]);
      }
    }
  }

  // y = x W^T; the derivatives are columns of W.
  template <typename Thread>
  COLLOC_BLOCK void first_layer(const Thread& thread, const Place& at, int column,
                                float (&y)[K][4]) const {
    COLLOC_UNROLL
    for (int i = 0; i < K * 4; ++i) y[i / 4][i % 4] = 0.0f;
    const float* above = net.x + row_of(at, 0) * net.inputs;
    const float* below = net.x + row_of(at, 8) * net.inputs;
    float w[2];
    COLLOC_ROLLED
    for (int i = 0; i < net.inputs; ++i) {
      thread.load2(w, net.packed + i * W + column);
      const float a = thread.load(above + i), b = thread.load(below + i);
      y[0][0] += a * w[0], y[0][1] += a * w[1];
      y[0][2] += b * w[0], y[0][3] += b * w[1];
    }
    if constexpr (Form::gradient) {
      COLLOC_UNROLL
      for (int i = 0; i < n; ++i) {
        thread.load2(w, net.packed + net.wrt[i] * W + column);
        COLLOC_UNROLL
        for (int e = 0; e < 4; ++e) y[1 + i][e] = w[e % 2];
      }
    }
  }

  // Past the last point it is the last one again.
  COLLOC_BLOCK int64_t row_of(const Place& at, int offset) const {
    const int64_t point = (first + at.group) * fused_group + at.row + offset;
    return point < net.points ? point : net.points - 1;
  }

  // A lane takes a quarter of a row's columns, eight neighbouring ones eight points.
  template <typename Thread>
  COLLOC_BLOCK void last_layer(const Thread& thread, const FusedWeights& weights, int begin) const {
    const int lane = thread.lane(), chunk = lane / 8 * (W / 16);
    COLLOC_ROLLED
    for (int eight = thread.warp(); eight < 2 * K * groups; eight += warps) {
      const int row = eight * 8 + lane % 8;  // of all groups: (groups, K, 16)
      const int p = row % fused_group, k = row / fused_group % K;
      const int group = begin + row / fused_group / K;
      const int64_t point = (first + group) * fused_group + p;
      const float* h = thread.shared() + row * W;
      COLLOC_ROLLED
      for (int j = 0; j < net.outputs; ++j) {
        const float* w = net.packed + weights.last() + j * W + chunk * 4;
        float sum = 0.0f;
        COLLOC_UNROLL
        for (int c = 0; c < W / 16; ++c) {
          float a[4], b[4];
          thread.read4(a, h + (((chunk + c) ^ fused_swizzle(p)) << 2));
          thread.load4(b, w + c * 4);
          sum += a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
        }
        sum += thread.shuffle_xor(sum, 8);
        sum += thread.shuffle_xor(sum, 16);
        if (lane < 8 && group < count && point < net.points) {
          const float bias = k == 0 ? thread.load(net.packed + weights.last_bias() + j) : 0.0f;
          out[(point * K + k) * net.outputs + j] = sum + bias;
        }
      }
    }
  }
};

}  // namespace colloc
