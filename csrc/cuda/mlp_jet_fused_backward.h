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
  const float* weight;  // of layer l + 1, (above, below)
  int above, below;
  float* by_weight;  // the block's sums of its gradient, see FusedSquare; null: not wanted
  bool store;        // the gradients of layer l
  bool exact;
  int delta_stages, h_stages;  // tiles in shared memory: 3 or 2, 2 or 1; 2 with 1 alone
};

// How the warps of a block share the sums of a weight's gradient (W, W), and where an element of it
// is: accumulators of products, in each block (splits, wm, wn, mt, nt, lane, 4).
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
  static constexpr int k_steps = W / 8;
  // Pre-activations are fetched while others are worked on, where there are registers for them.
  static constexpr bool loads_ahead = K <= 4;
  // Products are cut off, not rounded, when they are added: after so many steps the sums of a
  // weight's gradient go to memory, and begin with 0 again.
  static constexpr int steps_a_tile = Tile::rows / (8 * Square::splits);
  static constexpr int tiles_a_sum = steps_a_tile >= 32 ? 1 : 32 / steps_a_tile;

  FusedMid p;

  static size_t shared(const FusedFirst& first, int delta_stages, int h_stages) {
    return (W * W + (delta_stages + h_stages) * Tile::floats + Warps::slots(first)) * sizeof(float);
  }

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& thread) const {
    float* weight = thread.shared();
    float* deltas = weight + W * W;
    float* hs = deltas + p.delta_stages * Tile::floats;
    float* slots = hs + p.h_stages * Tile::floats;
    const int64_t tiles = (p.part.groups + Tile::groups - 1) / Tile::groups;
    const int64_t left = tiles - thread.block();
    const int count =
        left > 0 ? static_cast<int>((left + thread.blocks() - 1) / thread.blocks()) : 0;
    if (thread.warp() >= 8 && count > 0) fetch(thread, 0, deltas);
    thread.commit_async();
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
  // B (k, n) = weight (k, n), as {b0, b1, b0, b1} of two tiles of n.
  template <typename Thread>
  COLLOC_BLOCK void load_weight(const Thread& thread, float* to) const {
#if defined(__CUDACC__)
#pragma unroll 4
#endif
    for (int i = thread.thread(); i < W * W / 4; i += threads) {
      const int lane = i % 32, pair = i / 32 % (W / 16), kt = i / 32 / (W / 16);
      float b[4];
      COLLOC_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int k = kt * 8 + lane % 4 + e % 2 * 4, c = (pair * 2 + e / 2) * 8 + lane / 4;
        const bool there = k < p.above && c < p.below;
        b[e] = there ? thread.load(p.weight + int64_t{k} * p.below + c) : 0.0f;
      }
      thread.write4(to + i * 4, b);
    }
  }

  // Warps 8 to 15: the gradients of the block's tile s.
  template <typename Thread>
  COLLOC_BLOCK void fetch(const Thread& thread, int s, float* to) const {
    const int64_t tile = thread.block() + s * thread.blocks();
    const float* from = p.part.delta + tile * Tile::floats;
    const int begin = (thread.thread() - threads / 2) * 4;
    COLLOC_UNROLL
    for (int i = 0; i < Tile::floats; i += threads / 2 * 4) {
      thread.copy_async(to + begin + i, from + begin + i);
    }
  }

  template <typename Thread>
  COLLOC_BLOCK void descend(const Thread& thread, int count, const float* weight,
                            const float* deltas, float* hs, float* slots) const {
    const FusedLane<W> lane(thread);
    slots += Warps::slots(p.first) / Warps::rows * lane.warp_row;
    Adjoint::clear(slots, lane, p.first.wanted() ? p.first.inputs : 0);
    float sums[2][1 + n][2] = {};
    int stage = 0;
    for (int s = 0; s < count; ++s) {
      const int64_t tile = thread.block() + s * thread.blocks();
      const int64_t group = tile * Tile::groups + lane.warp_row * strip;
      float g[parts][K][4] = {}, y[K][4];
      if (loads_ahead) Adjoint::load(thread, p.part, p.first, group, lane, 0, y);
      const float* delta = deltas + stage * Tile::floats + lane.warp_row * m_tiles * 16 * W;
      if (p.exact) {
        multiply<true>(thread, weight, delta, lane.slice, g);
      } else {
        multiply<false>(thread, weight, delta, lane.slice, g);
      }
      // One piece of code for all parts, which take turns in the first place.
      COLLOC_NO_UNROLL
      for (int i = 0; i < parts; ++i) {
        const int j = i % 2;
        float next[loads_ahead ? K : 1][4] = {};
        if constexpr (!loads_ahead) {
          Adjoint::load(thread, p.part, p.first, group + i / 2, lane, j, y);
        } else if (i + 1 < parts) {
          Adjoint::load(thread, p.part, p.first, group + (i + 1) / 2, lane, 1 - j, next);
        }
        Adjoint::apply(p.part.kind, y, g[0]);
        Adjoint::keep(thread, p.part, p.first, group + i / 2, lane, j, y, sums[0], slots);
        if (p.store) Adjoint::store(p.part.delta + (group + i / 2) * K * 16 * W, lane, j, y);
        fused_turn(g);
        fused_turn(sums);
        if constexpr (loads_ahead) {
          COLLOC_UNROLL
          for (int e = 0; e < K * 4; ++e) y[e / 4][e % 4] = next[e / 4][e % 4];
        }
      }
      if (p.h_stages == 1) thread.sync();
      float* h = hs + (p.h_stages == 2 ? s % 2 : 0) * Tile::floats;
      COLLOC_UNROLL
      for (int i = 0; i < parts; ++i) {
        Adjoint::write(thread, h + (lane.warp_row * strip + i / 2) * K * 16 * W, lane, i % 2, g[i]);
      }
      thread.sync();
      stage = stage + 1 == p.delta_stages ? 0 : stage + 1;
    }
    if (p.h_stages == 1) thread.sync();
    thread.sync();
    float* to = p.sums.at + (thread.block() * Warps::rows + lane.warp_row) * p.sums.rows * W;
    Adjoint::give(thread, p.first, p.sums.begin, lane, sums, to);
    Adjoint::give_slots(slots, lane, p.first.wanted() ? p.first.inputs : 0, p.sums.begin,
                        to + (1 + n) * W);
  }

  // g += delta weight, for 16 columns of the rows of a warp.
  template <bool Exact, typename Thread>
  COLLOC_BLOCK void multiply(const Thread& thread, const float* weight, const float* delta,
                             int slice, float (&g)[parts][K][4]) const {
    const int lane = thread.lane(), row = lane % 16;
    int offset[4];
    COLLOC_UNROLL
    for (int j = 0; j < 4; ++j) {
      offset[j] = row * W + (((2 * j + lane / 16) ^ fused_swizzle(row)) << 2);
    }
    const float* from = weight + slice * 128 + lane * 4;
    float b[4], a[2][4];
    thread.read4(b, from);
    load_tile(thread, delta + offset[0], a[0]);
    COLLOC_NO_UNROLL
    for (int at = 0; at < k_steps; at += 4) {
      COLLOC_UNROLL
      for (int j = 0; j < 4; ++j) {
        uint32_t b_high[2][2], b_low[2][2];
        fused_operands<Exact>(b, b_high[0], b_low[0]);
        fused_operands<Exact>(b + 2, b_high[1], b_low[1]);
        // The last step fetches what it has already.
        const int next = at + j + 1 < k_steps ? at + j + 1 : at + j;
        thread.read4(b, from + next * (W / 16) * 128);
        const float* next_delta =
            delta + (j < 3 ? at * 8 + offset[(j + 1) % 4] : (next / 4) * 32 + offset[0]);
        COLLOC_UNROLL
        for (int m = 0; m < m_tiles; m += 2) {
          constexpr int wide = m_tiles == 1 ? 1 : 2;
          uint32_t high[2][4], low[2][4];
          if constexpr (wide == 2) {
            if (m + 1 < m_tiles) {
              load_tile(thread, delta + at * 8 + offset[j] + (m + 1) * 16 * W, a[1]);
            }
          }
          fused_operands<Exact>(a[0], high[0], low[0]);
          if (m + 1 < m_tiles) fused_operands<Exact>(a[1], high[1], low[1]);
          if (m + 2 < m_tiles) {
            load_tile(thread, delta + at * 8 + offset[j] + (m + 2) * 16 * W, a[0]);
          } else {
            load_tile(thread, next_delta, a[0]);
          }
          COLLOC_UNROLL
          for (int product = Exact ? 0 : 2; product < 3; ++product) {
            COLLOC_UNROLL
            for (int i = 0; i < 2; ++i) {
              if (m + i >= m_tiles) continue;
              COLLOC_UNROLL
              for (int c = 0; c < 2; ++c) {
                thread.mma(g[(m + i) / K * 2 + c][(m + i) % K], product == 0 ? low[i] : high[i],
                           product == 1 ? b_low[c] : b_high[c]);
              }
            }
          }
        }
      }
    }
  }

  template <typename Thread>
  COLLOC_BLOCK static void load_tile(const Thread& thread, const float* from, float (&to)[4]) {
    uint32_t bits[4];
    thread.load_matrix(bits, from);
    COLLOC_UNROLL
    for (int e = 0; e < 4; ++e) to[e] = math::bits_as<float>(bits[e]);
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
    int since = 0, stage = 0, last = 0, next = count > 1 ? 1 : 0;
    float acc[Square::m_tiles][Square::n_tiles][4] = {};
    for (int s = 0; s <= count; ++s) {
      const bool more = s + 1 < count;
      if (more && p.delta_stages == 3) fetch(thread, s + 1, deltas + next * Tile::floats);
      thread.commit_async();
      if (s > 0 && wanted) {
        const float* h = hs + (p.h_stages == 2 ? (s - 1) % 2 : 0) * Tile::floats;
        if (p.exact) {
          accumulate<true>(thread, warp, deltas + last * Tile::floats, h, acc);
        } else {
          accumulate<false>(thread, warp, deltas + last * Tile::floats, h, acc);
        }
        if (++since == tiles_a_sum || s == count) {
          flush(to, fresh, acc);
          fresh = false;
          since = 0;
        }
      }
      if (p.h_stages == 1) thread.sync();
      if (more && p.delta_stages == 2) fetch(thread, s + 1, deltas + next * Tile::floats);
      thread.commit_async();
      thread.template wait_async<0>();
      thread.sync();
      last = stage;
      stage = next;
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
    const int g = thread.lane() / 4, t = thread.lane() % 4;
    const int wn = warp % Square::across, wm = warp / Square::across % Square::down;
    const int split = warp / (Square::across * Square::down);
    // Rows t and t + 4 of eight, column g of the j-th eight columns of 32.
    int offset[4][2];
    COLLOC_UNROLL
    for (int j = 0; j < 4; ++j) {
      COLLOC_UNROLL
      for (int u = 0; u < 2; ++u) {
        offset[j][u] = (t + 4 * u) * W + (((2 * j + g / 4) ^ (2 * t + u)) << 2) + g % 4;
      }
    }
    delta += split * steps_a_tile * 8 * W + wm * Square::m_tiles * 16;
    h += split * steps_a_tile * 8 * W + wn * 32;
    float b[4][2], a[4];
    const auto load_b = [&](const float* from) {
      COLLOC_UNROLL
      for (int j = 0; j < 4; ++j) {
        b[j][0] = from[offset[j][0]];
        b[j][1] = from[offset[j][1]];
      }
    };
    const auto load_a = [&](const float* from, int m) {
      COLLOC_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int eight = 2 * m + e % 2;
        a[e] = from[offset[eight % 4][e / 2] + eight / 4 * 32];
      }
    };
    load_b(h);
    load_a(delta, 0);
    COLLOC_NO_UNROLL
    for (int step = 0; step < steps_a_tile; ++step) {
      uint32_t b_high[4][2], b_low[4][2];
      COLLOC_UNROLL
      for (int j = 0; j < 4; ++j) fused_operands<Exact>(b[j], b_high[j], b_low[j]);
      const int ahead = step + 1 < steps_a_tile ? 8 * W : 0;
      COLLOC_UNROLL
      for (int m = 0; m < Square::m_tiles; ++m) {
        uint32_t high[4], low[4];
        fused_operands<Exact>(a, high, low);
        if (m + 1 < Square::m_tiles) {
          load_a(delta, m + 1);
        } else {
          load_a(delta + ahead, 0);
          load_b(h + ahead);
        }
        COLLOC_UNROLL
        for (int product = Exact ? 0 : 2; product < 3; ++product) {
          COLLOC_UNROLL
          for (int j = 0; j < 4; ++j) {
            thread.mma(acc[m][j], product == 0 ? low : high, product == 1 ? b_low[j] : b_high[j]);
          }
        }
      }
      delta += ahead;
      h += ahead;
    }
  }
};

}  // namespace colloc
