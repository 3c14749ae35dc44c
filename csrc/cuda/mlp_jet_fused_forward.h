// The jet of a whole perceptron in one kernel. Eight warps take some groups of 16 points through
// all layers; their jets stay in shared memory, and a warp makes all components of its group in a
// slice of the neurons, so that activations are composed in registers.
#pragma once

#include "cuda/mlp_jet_fused_activation.h"
#include "cuda/mlp_jet_fused_split.h"

namespace colloc {

template <math::JetOrder O, int n, int W>
struct FusedForwardBody {
  using Form = math::JetForm<O, n>;
  static constexpr int K = Form::size;
  static constexpr int slice_tiles = K <= 4 ? 4 : 2;  // of 8 neurons; K * this * 4 accumulators
  static constexpr int slices = W / 8 / slice_tiles;
  static constexpr int warps = 8;
  static constexpr int groups = warps / slices;  // in a block, at most
  static constexpr int threads = warps * warp_size;
  static constexpr int least_blocks = 2;
  // Of a group's jets in shared memory: their image, then their units.
  using Image = FusedImage<W>;
  static constexpr int image = Image::words(K) + Image::units(K);

  FusedNetwork net;
  int64_t first;  // of the groups
  int count;
  float* out;   // (points, K, outputs), or null
  float* kept;  // FusedKept of kept_groups groups from `first` on; may be null
  int kept_groups;
  bool exact;   // three products, or high high alone
  int members;  // groups of a block at a time, at most `groups`

  using Sums = float[K][slice_tiles][4];

  // A thread's place in its warp's part of the work.
  struct Place {
    int lane, row, column;  // of the accumulators: row and row + 8, column and column + 1
    float* jets;            // of the group, and their units
    float* units;
    int group;  // from `first` on
  };

  // Of `most` blocks: few groups go one to a block, so that they have a multiprocessor each.
  static int members_of(int count, int most) {
    const int wanted = (count + most - 1) / most;
    return wanted < 1 ? 1 : (wanted < groups ? wanted : groups);
  }
  BlockGrid grid(int most) const {
    const int wanted = (count + members - 1) / members;
    return {wanted < most ? wanted : most, sizeof(float) * image * members};
  }

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& thread) const {
    const int slice = thread.warp() % slices, member = thread.warp() / slices;
    if (member >= members) return;
    Place at;
    at.lane = thread.lane();
    at.row = at.lane / 4;
    at.column = slice * slice_tiles * 8 + at.lane % 4 * 2;
    at.jets = thread.shared() + member * image;
    at.units = at.jets + Image::words(K);
    const FusedWeights weights{W, net.inputs, net.hidden, net.outputs};
    const int step = static_cast<int>(thread.blocks()) * members;
    // All groups wait for each other: where each went its own way, weights left the first cache
    // before the next group asked for them (3 % slower).
    const auto meet = [&] { thread.sync(1, members * slices * warp_size); };
    for (int begin = static_cast<int>(thread.block()) * members; begin < count; begin += step) {
      at.group = begin + member;
      Sums sums = {};
      for (int l = 0; l < net.hidden; ++l) {
        if (l > 0) {
          const float* b =
              net.packed + weights.square(l, 0) + slice * slice_tiles * 128 + at.lane * 4;
          if (exact) {
            multiply<true>(thread, at, b, sums);
          } else {
            multiply<false>(thread, at, b, sums);
          }
          meet();  // all have read
        }
        activate(thread, at, weights, l, sums);
        meet();
      }
      if (out != nullptr) {
        last_layer(thread, at, weights, slice);
        meet();
      }
    }
  }

  // sums = h W^T for the group's jets and the slice's neurons, but for the weights' units.
  template <bool Exact, typename Thread>
  COLLOC_BLOCK void multiply(const Thread& thread, const Place& at, const float* b,
                             Sums& sums) const {
    clear(sums);
    // Matrices of load_matrix: rows 0..7 and 8..15 of one piece, the same of the next piece.
    const int start = Image::piece(at.lane % 16, at.lane / 16);
    COLLOC_ROLLED
    for (int q = 0; q < Image::tiles; ++q) {
      uint32_t right[slice_tiles][4];
      COLLOC_UNROLL
      for (int j = 0; j < slice_tiles; ++j) {
        float words[4];
        thread.load4(words, b + j * 128);
        COLLOC_UNROLL
        for (int e = 0; e < 4; ++e) right[j][e] = math::bits_as<uint32_t>(words[e]);
      }
      b += fused_tiles<W> * 128;
      const float* rows = at.jets + (start ^ (8 * q));
      COLLOC_UNROLL
      for (int k = 0; k < K; ++k) {
        uint32_t high[1][4], low[1][4] = {};
        thread.load_matrix(high[0], rows + 2 * k * Image::part);
        if constexpr (Exact) thread.load_matrix(low[0], rows + (2 * k + 1) * Image::part);
        float product[1][slice_tiles][4];
        fused_product<Exact>(thread, high, low, right, product);
        const float unit = at.units[k * Image::tiles + q];
        COLLOC_UNROLL
        for (int i = 0; i < slice_tiles * 4; ++i) {
          float& sum = sums[k][i / 4][i % 4];
          sum = std::fma(product[0][i / 4][i % 4], unit, sum);
        }
      }
    }
  }

  COLLOC_BLOCK static void clear(Sums& sums) {
    COLLOC_UNROLL
    for (int k = 0; k < K; ++k) {
      COLLOC_UNROLL
      for (int i = 0; i < slice_tiles * 4; ++i) sums[k][i / 4][i % 4] = 0.0f;
    }
  }

  // Hidden layer l from its products: units, bias, what is kept, activation, into shared memory.
  template <typename Thread>
  COLLOC_BLOCK void activate(const Thread& thread, const Place& at, const FusedWeights& weights,
                             int l, Sums& sums) const {
    const FusedKept<W, K> keeping{kept_groups};
    const bool keep = kept != nullptr && at.group < kept_groups;
    const bool jets = out != nullptr || l + 1 < net.hidden;
    const auto kind = static_cast<math::Kind>(net.kinds[l]);
    const float* bias = net.packed + weights.bias(l) + at.column;
    const float* unit = net.packed + weights.units(l, 0) + at.column / 8;
    float* keep_at = keep ? kept + keeping.at(l, at.group, at.column / 8, 0, at.lane) : nullptr;
    // Two tiles of 8 neurons at a time, after which the others move up: unrolled over all, it would
    // be too long for the cache of instructions.
    COLLOC_ROLLED
    for (int c = 0; c < slice_tiles / 2; ++c) {
      COLLOC_UNROLL
      for (int j = 0; j < 2; ++j) {
        float y[K][4], add[2];
        thread.load2(add, bias + j * 8);
        if (l == 0) {
          first_layer(thread, at, at.column + c * 16 + j * 8, y);
        } else {
          const float scale = thread.load(unit + j);
          COLLOC_UNROLL
          for (int i = 0; i < K * 4; ++i) y[i / 4][i % 4] = sums[i / 4][j][i % 4] * scale;
        }
        COLLOC_UNROLL
        for (int e = 0; e < 4; ++e) y[0][e] += add[e % 2];
        if (keep) {
          thread.store4(keep_at, y[0]);
          if (l > 0) {
            COLLOC_UNROLL
            for (int k = 1; k < K; ++k) thread.store4(keep_at + k * 128, y[k]);
          }
          keep_at += (l == 0 ? 1 : K) * 128;
        }
        if (jets) compose(kind, y);
        COLLOC_UNROLL
        for (int i = 0; i < K * 4; ++i) sums[i / 4][j][i % 4] = y[i / 4][i % 4];
      }
      bias += 16;
      unit += 2;
      if (jets) write(thread, at, at.column / 16 + c, sums);
      COLLOC_UNROLL
      for (int k = 0; k < K; ++k) {
        COLLOC_UNROLL
        for (int i = 8; i < slice_tiles * 4; ++i) {
          sums[k][i / 4 - 2][i % 4] = sums[k][i / 4][i % 4];
        }
      }
    }
  }

  COLLOC_BLOCK static void compose(math::Kind kind, float (&y)[K][4]) {
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
  }

  // The first two tiles of the slice, as halves: tile q of the image.
  template <typename Thread>
  COLLOC_BLOCK void write(const Thread& thread, const Place& at, int q, const Sums& sums) const {
    float* to = at.jets + Image::of_lane(at.row, q, at.lane % 4);
    COLLOC_UNROLL
    for (int k = 0; k < K; ++k) {
      const auto& pair = reinterpret_cast<const float (&)[2][4]>(sums[k][0]);
      const FusedUnit unit = fused_unit_of(thread, pair);
      COLLOC_UNROLL
      for (int r = 0; r < 2; ++r) {
        float high[2], low[2];
        fused_split_row(thread, pair, r, unit, high, low);
        float* row = to + 2 * k * Image::part + r * 8 * Image::row;
        thread.write2(row, high[0], high[1]);
        thread.write2(row + Image::part, low[0], low[1]);
      }
      if (at.lane == 0) at.units[k * Image::tiles + q] = unit.unit;
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
  COLLOC_BLOCK void last_layer(const Thread& thread, const Place& at, const FusedWeights& weights,
                               int slice) const {
    constexpr int tiles = Image::tiles / 4;  // of a lane
    const int lane = at.lane, chunk = lane / 8 * tiles;
    COLLOC_ROLLED
    for (int eight = slice; eight < 2 * K; eight += slices) {
      const int row = eight * 8 + lane % 8;  // (K, 16)
      const int p = row % fused_group, k = row / fused_group;
      const int64_t point = (first + at.group) * fused_group + p;
      const float* jets = at.jets;
      const float* units = at.units + k * Image::tiles + chunk;
      COLLOC_ROLLED
      for (int j = 0; j < net.outputs; ++j) {
        const float* w = net.packed + weights.last() + j * W + chunk * 16;
        float sum = 0.0f;
        COLLOC_UNROLL
        for (int q = 0; q < tiles; ++q) {
          float part = 0.0f;
          COLLOC_UNROLL
          for (int half = 0; half < 2; ++half) {
            const int piece = Image::piece(p, 2 * (chunk + q) + half);
            part += dot(thread, jets + 2 * k * Image::part + piece, w + q * 16 + half * 4);
          }
          sum += part * units[q];
        }
        sum += thread.shuffle_xor(sum, 8);
        sum += thread.shuffle_xor(sum, 16);
        if (lane < 8 && at.group < count && point < net.points) {
          const float bias = k == 0 ? thread.load(net.packed + weights.last_bias() + j) : 0.0f;
          out[(point * K + k) * net.outputs + j] = sum + bias;
        }
      }
    }
  }

  // Of a piece of a row, high parts at `h`, with the weights of its columns: w[0..3], w[8..11].
  template <typename Thread>
  COLLOC_BLOCK static float dot(const Thread& thread, const float* h, const float* w) {
    float high[4], low[4], sum = 0.0f;
    thread.read4(high, h);
    thread.read4(low, h + Image::part);
    COLLOC_UNROLL
    for (int i = 0; i < 4; ++i) {
      float a, b, c, d, weight[2];
      thread.from_halves(math::bits_as<uint32_t>(high[i]), a, b);
      thread.from_halves(math::bits_as<uint32_t>(low[i]), c, d);
      thread.load2(weight, w + i / 2 * 2 + i % 2 * 8);
      sum += (a + c) * weight[0] + (b + d) * weight[1];
    }
    return sum;
  }
};

}  // namespace colloc
