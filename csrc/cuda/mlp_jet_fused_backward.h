// The kernel of op mlp_jet_fused_backward that goes from a hidden layer to the one below. All sums
// over points are made in an order that depends on the grid alone.
#pragma once

#include "cuda/mlp_jet_fused_adjoint.h"

namespace colloc {

// From hidden layer l + 1 down to l.
struct FusedMid {
  FusedPart part;  // of layer l; the gradients in part.delta are those of layer l + 1 before
  FusedFirst first;
  FusedSums sums;
  const float* weight;  // of layer l + 1 as a right factor, and its units, see FusedWeights
  const float* weight_units;
  float* by_weight;  // the block's sums of its gradient, see FusedSquare; null: not wanted
  bool store;        // the gradients of layer l
  bool exact;
  int delta_stages, h_stages;  // tiles in shared memory: 3 or 2, 2 or 1; 2 with 1 alone
};

// How the warps of a block share the sums of a weight's gradient (W, W), and where an element of it
// is: accumulators of products, in each block (splits, wm, wn, mt, nt, lane, 4), whose rows and
// columns are in the order of the images' (fused_column).
template <int W>
struct FusedSquare {
  static constexpr int across = W / 32, down = 2;               // warps
  static constexpr int splits = 8 / (across * down);            // of the rows that are summed over
  static constexpr int m_tiles = W / (16 * down), n_tiles = 4;  // of a warp
  static constexpr int64_t of_warp = m_tiles * n_tiles * 128;
};

// Warps 0 to 7 multiply by the weight and go through the activation for one tile of points, while
// warps 8 to 15 add the tile before to the gradient by the weight, and fetch the one after.
template <typename Form, int W>
struct FusedMidBody {
  static constexpr int threads = 512, least_blocks = 1;
  static constexpr int K = FusedJet<Form>::size, n = Form::inputs;
  using Tile = FusedTile<Form, W>;
  using Warps = FusedWarps<W>;
  using Square = FusedSquare<W>;
  using Adjoint = FusedAdjoint<Form, W>;
  static constexpr int strip = Tile::strip, m_tiles = strip * K, parts = 2 * strip;
  using Image = FusedImage<W>;
  // Pre-activations are fetched while others are worked on, where there are registers for them.
  static constexpr bool loads_ahead = K <= 4;
  static constexpr int steps_a_tile = Tile::steps / Square::splits;
  // After about so many steps the sums of a weight's gradient go to memory, and begin with 0 again:
  // sums of sums err less than long ones.
  static constexpr int tiles_a_sum = 256 / steps_a_tile;

  FusedMid p;

  static size_t shared(const FusedFirst& first, int delta_stages, int h_stages) {
    const int tiles = delta_stages + h_stages;
    return (W * W + tiles * (Tile::words + Tile::units) + Warps::slots(first)) * sizeof(float);
  }

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& thread) const {
    float* weight = thread.shared();
    float* deltas = weight + W * W;
    float* hs = deltas + p.delta_stages * stage;
    float* slots = hs + p.h_stages * stage;
    const int64_t tiles = (p.part.groups + Tile::groups - 1) / Tile::groups;
    const int64_t left = tiles - thread.block();
    const int count =
        left > 0 ? static_cast<int>((left + thread.blocks() - 1) / thread.blocks()) : 0;
    if (thread.warp() >= 8 && count > 0) fetch(thread, 0, deltas);
    load_weight(thread, weight);
    thread.template wait_async<0>();
    thread.sync();
    if (thread.warp() < 8) {
      descend(thread, count, weight, deltas, hs, slots);
    } else {
      sum(thread, count, deltas, hs);
    }
  }

 private:
  static constexpr int stage = Tile::words + Tile::units;  // images, then their units
  static constexpr int multiplied = 1;                     // a barrier

  template <typename Thread>
  COLLOC_BLOCK void load_weight(const Thread& thread, float* to) const {
    COLLOC_UNROLL
    for (int i = 0; i < W * W; i += threads * 4) {
      thread.copy_async(to + thread.thread() * 4 + i, p.weight + thread.thread() * 4 + i);
    }
    thread.commit_async();
  }

  // Warps 8 to 15: the gradients of the block's tile s.
  template <typename Thread>
  COLLOC_BLOCK void fetch(const Thread& thread, int s, float* to) const {
    const int64_t tile = thread.block() + s * thread.blocks();
    const float* from = p.part.delta + tile * Tile::words;
    const int begin = (thread.thread() - threads / 2) * 4;
    COLLOC_UNROLL
    for (int i = 0; i < Tile::words; i += threads / 2 * 4) {
      thread.copy_async(to + begin + i, from + begin + i);
    }
    if (begin < Tile::units) {
      thread.copy_async(to + Tile::words + begin, p.part.units + tile * Tile::units + begin);
    }
  }

  template <typename Thread>
  COLLOC_BLOCK void descend(const Thread& thread, int count, const float* weight,
                            const float* deltas, float* hs, float* slots) const {
    const FusedLane<W> lane(thread);
    slots += Warps::slots(p.first) / Warps::rows * lane.warp_row;
    Adjoint::clear(slots, lane, p.first.wanted() ? p.first.inputs : 0);
    float sums[2][1 + n][2] = {};
    const float weight_units[2] = {thread.load(p.weight_units + lane.tile(0)),
                                   thread.load(p.weight_units + lane.tile(1))};
    int at = 0;
    for (int s = 0; s < count; ++s) {
      const int64_t tile = thread.block() + s * thread.blocks();
      const int64_t first_group = tile * Tile::groups + lane.warp_row * strip;
      if (s + 1 < count) {
        const int64_t later = first_group + thread.blocks() * Tile::groups;
        COLLOC_UNROLL
        for (int i = 0; i < strip; ++i) Adjoint::prefetch(thread, p.part, p.first, later + i, lane);
      }
      float g[parts][K][4] = {}, y[2][K][4], next[K][4] = {};
      if (loads_ahead) Adjoint::load(thread, p.part, p.first, first_group, lane, 0, y[0]);
      const float* delta = deltas + at * stage;
      if (p.exact) {
        multiply<true>(thread, weight, delta, lane, g);
      } else {
        multiply<false>(thread, weight, delta, lane, g);
      }
      if (p.h_stages == 1) {
        thread.sync();
      } else {
        thread.arrive(multiplied, threads);
      }
      float* h = hs + (p.h_stages == 2 ? s % 2 : 0) * stage;
      // One piece of code for all groups, which take turns in the first place.
      COLLOC_NO_UNROLL
      for (int i = 0; i < strip; ++i) {
        const int64_t group = first_group + i;
        COLLOC_UNROLL
        for (int j = 0; j < 2; ++j) {
          if constexpr (!loads_ahead) {
            Adjoint::load(thread, p.part, p.first, group, lane, j, y[j]);
          } else if (j == 0) {
            Adjoint::load(thread, p.part, p.first, group, lane, 1, y[1]);
          } else if (strip > 1) {
            Adjoint::load(thread, p.part, p.first, group + 1, lane, 0, next);
          }
          COLLOC_UNROLL
          for (int e = 0; e < K * 4; ++e) g[j][e / 4][e % 4] *= weight_units[j];
          Adjoint::apply(p.part.kind, y[j], g[j]);
          Adjoint::keep(thread, p.part, p.first, group, lane, j, y[j], sums[j], slots);
        }
        if (p.store) {
          Adjoint::template write<true>(thread, p.part.delta + group * Image::words(K),
                                        p.part.units + group * Image::units(K), lane, y[0], y[1]);
        }
        const int place = lane.warp_row * strip + i;
        Adjoint::template write<false>(thread, h + place * Image::words(K),
                                       h + Tile::words + place * Image::units(K), lane, g[0], g[1]);
        if constexpr (strip > 1) {
          fused_turn(g);
          fused_turn(g);
          COLLOC_UNROLL
          for (int e = 0; e < K * 4; ++e) y[0][e / 4][e % 4] = next[e / 4][e % 4];
        }
      }
      thread.sync();
      at = at + 1 == p.delta_stages ? 0 : at + 1;
    }
    if (p.h_stages == 1) thread.sync();
    thread.sync();
    float* to = p.sums.at + (thread.block() * Warps::rows + lane.warp_row) * p.sums.rows * W;
    Adjoint::give(thread, p.first, p.sums.begin, lane, sums, to);
    Adjoint::give_slots(slots, lane, p.first.wanted() ? p.first.inputs : 0, p.sums.begin,
                        to + (1 + n) * W);
  }

  // g += delta weight, for 16 columns of the rows of a warp, but for the weight's units.
  template <bool Exact, typename Thread>
  COLLOC_BLOCK void multiply(const Thread& thread, const float* weight, const float* delta,
                             const FusedLane<W>& lane, float (&g)[parts][K][4]) const {
    const float* units = delta + Tile::words + lane.warp_row * m_tiles * Image::tiles;
    delta += lane.warp_row * strip * Image::words(K);
    const int start = Image::piece(lane.lane % 16, lane.lane / 16);
    const float* from = weight + lane.slice * 256 + lane.lane * 4;
    COLLOC_NO_UNROLL
    for (int q = 0; q < Image::tiles; ++q) {
      uint32_t right[2][4];
      read_words(thread, from + q * (fused_tiles<W> * 128), right[0]);
      read_words(thread, from + q * (fused_tiles<W> * 128) + 128, right[1]);
      const float* rows = delta + (start ^ (8 * q));
      // Two rows of tiles at a time, and what is left.
      COLLOC_UNROLL
      for (int m = 0; m + 1 < m_tiles; m += 2)
        rows_of<Exact, 2>(thread, rows, units + q, m, right, g);
      if constexpr (m_tiles % 2 != 0) {
        rows_of<Exact, 1>(thread, rows, units + q, m_tiles - 1, right, g);
      }
    }
  }

  // The tiles m, ..., m + Rows - 1 of the rows, times 16 columns.
  template <bool Exact, int Rows, typename Thread>
  COLLOC_BLOCK static void rows_of(const Thread& thread, const float* rows, const float* units,
                                   int m, const uint32_t (&right)[2][4], float (&g)[parts][K][4]) {
    uint32_t high[Rows][4], low[Rows][4] = {};
    COLLOC_UNROLL
    for (int i = 0; i < Rows; ++i) {
      thread.load_matrix(high[i], rows + 2 * (m + i) * Image::part);
      if constexpr (Exact) thread.load_matrix(low[i], rows + (2 * (m + i) + 1) * Image::part);
    }
    float product[Rows][2][4];
    fused_product<Exact>(thread, high, low, right, product);
    COLLOC_UNROLL
    for (int i = 0; i < Rows; ++i) {
      const float unit = units[(m + i) * Image::tiles];
      COLLOC_UNROLL
      for (int j = 0; j < 8; ++j) {
        float& sum = g[(m + i) / K * 2 + j / 4][(m + i) % K][j % 4];
        sum = std::fma(product[i][j / 4][j % 4], unit, sum);
      }
    }
  }

  template <typename Thread>
  COLLOC_BLOCK static void read_words(const Thread& thread, const float* from, uint32_t (&to)[4]) {
    float words[4];
    thread.read4(words, from);
    COLLOC_UNROLL
    for (int e = 0; e < 4; ++e) to[e] = math::bits_as<uint32_t>(words[e]);
  }

  template <typename Thread>
  COLLOC_BLOCK void sum(const Thread& thread, int count, float* deltas, const float* hs) const {
    const int warp = thread.warp() - 8, split = warp / (Square::across * Square::down);
    float* to = p.by_weight +
                ((thread.block() * Square::splits + split) * Square::across * Square::down +
                 warp % (Square::across * Square::down)) *
                    Square::of_warp +
                thread.lane() * 4;
    const bool wanted = p.by_weight != nullptr;
    bool fresh = p.sums.begin;
    int since = 0, now = 0, last = 0, next = count > 1 ? 1 : 0;
    float acc[Square::m_tiles][Square::n_tiles][4] = {};
    for (int s = 0; s <= count; ++s) {
      const bool more = s + 1 < count;
      if (more && p.delta_stages == 3) fetch(thread, s + 1, deltas + next * stage);
      thread.commit_async();
      // The other warps have the tensor cores to themselves until they come to the activations.
      if (p.h_stages == 2 && s < count) thread.sync(multiplied, threads);
      if (s > 0 && wanted) {
        const float* h = hs + (p.h_stages == 2 ? (s - 1) % 2 : 0) * stage;
        if (p.exact) {
          accumulate<true>(thread, warp, deltas + last * stage, h, acc);
        } else {
          accumulate<false>(thread, warp, deltas + last * stage, h, acc);
        }
        if (++since == tiles_a_sum || s == count) {
          flush(to, fresh, acc);
          fresh = false;
          since = 0;
        }
      }
      if (p.h_stages == 1) thread.sync();
      if (more && p.delta_stages == 2) fetch(thread, s + 1, deltas + next * stage);
      thread.commit_async();
      thread.template wait_async<0>();
      thread.sync();
      last = now;
      now = next;
      next = next + 1 == p.delta_stages ? 0 : next + 1;
    }
    if (count == 0 && wanted && fresh) flush(to, true, acc);
  }

  COLLOC_BLOCK static void flush(float* to, bool fresh,
                                 float (&acc)[Square::m_tiles][Square::n_tiles][4]) {
    constexpr int at_once = 8;  // loads: one after the other they would take longer than products
    COLLOC_UNROLL
    for (int begin = 0; begin < Square::m_tiles * Square::n_tiles; begin += at_once) {
      float old[at_once][4] = {};
      COLLOC_UNROLL
      for (int i = 0; i < at_once; ++i) {
        if (!fresh) fused_read4(old[i], to + (begin + i) * 128);
      }
      COLLOC_UNROLL
      for (int i = 0; i < at_once; ++i) {
        float (&sum)[4] = acc[(begin + i) / Square::n_tiles][(begin + i) % Square::n_tiles];
        COLLOC_UNROLL
        for (int e = 0; e < 4; ++e) {
          old[i][e] += sum[e];
          sum[e] = 0.0f;
        }
        fused_write4(to + (begin + i) * 128, old[i]);
      }
    }
  }

  // acc += delta^T h over the rows of a split.
  template <bool Exact, typename Thread>
  COLLOC_BLOCK void accumulate(const Thread& thread, int warp, const float* delta, const float* h,
                               float (&acc)[Square::m_tiles][Square::n_tiles][4]) const {
    const int lane = thread.lane(), eight = lane / 8;
    const int wn = warp % Square::across, wm = warp / Square::across % Square::down;
    const int split = warp / (Square::across * Square::down);
    const float* delta_units =
        delta + Tile::words + split * steps_a_tile * Image::tiles + wm * Square::m_tiles;
    const float* h_units = h + Tile::words + split * steps_a_tile * Image::tiles + wn * 2;
    // Of four matrices the second one is of the next columns, and for h of the rows below.
    const int begin = split * steps_a_tile * 2 * Image::part;
    const int left_start =
        Image::piece(lane % 8 + eight / 2 * 8, eight % 2) ^ (8 * wm * Square::m_tiles);
    const int right_start = Image::piece(lane % 8 + eight % 2 * 8, eight / 2) ^ (wn * 16);
    const float *left = delta + begin, *right = h + begin;
    COLLOC_NO_UNROLL
    for (int step = 0; step < steps_a_tile; ++step) {
      uint32_t b[Square::n_tiles][4];
      COLLOC_UNROLL
      for (int c = 0; c < 2; ++c) {
        uint32_t high[4], low[4] = {};
        thread.load_transposed(high, right + (right_start ^ (8 * c)));
        if constexpr (Exact) {
          thread.load_transposed(low, right + Image::part + (right_start ^ (8 * c)));
        }
        COLLOC_UNROLL
        for (int i = 0; i < 2; ++i) {
          b[2 * c + i][0] = high[2 * i];
          b[2 * c + i][1] = high[2 * i + 1];
          b[2 * c + i][2] = low[2 * i];
          b[2 * c + i][3] = low[2 * i + 1];
        }
      }
      COLLOC_UNROLL
      for (int m = 0; m < Square::m_tiles; ++m) {
        const int at = left_start ^ (8 * m);
        uint32_t high[1][4], low[1][4] = {};
        thread.load_transposed(high[0], left + at);
        if constexpr (Exact) thread.load_transposed(low[0], left + Image::part + at);
        float product[1][Square::n_tiles][4];
        fused_product<Exact>(thread, high, low, b, product);
        COLLOC_UNROLL
        for (int i = 0; i < Square::n_tiles * 4; ++i) {
          float& sum = acc[m][i / 4][i % 4];
          sum = std::fma(product[0][i / 4][i % 4], delta_units[m] * h_units[i / 8], sum);
        }
      }
      left += 2 * Image::part;
      right += 2 * Image::part;
      delta_units += Image::tiles;
      h_units += Image::tiles;
    }
  }
};

}  // namespace colloc
