// What the kernels of mlp_jet_fused_backward.h share: which points and neurons a thread has, the
// step through an activation, sums over points.
#pragma once

#include "cuda/mlp_jet_fused_activation.h"
#include "cuda/mlp_jet_fused_split.h"

#if defined(__CUDACC__)
#define COLLOC_UNROLL _Pragma("unroll")
#define COLLOC_NO_UNROLL _Pragma("unroll 1")
#else
#define COLLOC_UNROLL
#define COLLOC_NO_UNROLL
#endif

namespace colloc {

template <typename Form>
using FusedJet = math::JetForm<Form::order, Form::inputs>;

// Some groups of points at hidden layer l.
struct FusedPart {
  math::Kind kind;
  const float* y;  // pre-activations, as kept, of the first of the groups
  float* delta;    // gradients by y, a FusedImage for each group
  float* units;    // of delta, (groups, K, W / 16)
  int64_t groups;
  int64_t first_point, points;  // where the groups begin and end among all N
};

// The first layer, where l = 0: its jets begin with the columns, and end with sums of its own.
struct FusedFirst {
  const float* weight;  // (d, W); null in layers above
  const float* x;       // (N, d)
  int inputs;           // d
  int wrt[math::max_jet_inputs];
  float* delta;  // the gradients by the values y, (N, width); null: not wanted
  int width;     // without padding

  COLLOC_HD_MEMBER bool wanted() const { return weight != nullptr; }
};

// Sums that a block keeps to itself, (rows, W) for each row of warps: row 0 is the gradient by the
// bias; with the first layer come n rows of its columns' gradients and one of each input's; the
// top kernel's next ones are the last layer's weight and, in one row, its bias.
struct FusedSums {
  float* at;
  int rows;
  bool begin;  // nothing is there yet
};

// Eight warps side by side: 16 neurons each, and at 64 neurons two rows of warps for as many groups
// of points.
template <int W>
struct FusedWarps {
  static constexpr int slices = W / 16, rows = 8 / slices;

  // Floats of shared memory for the sums of delta x^T, (rows, inputs, W).
  static COLLOC_HD_MEMBER int slots(const FusedFirst& first) {
    return first.wanted() ? rows * first.inputs * W : 0;
  }
};

// The points that a block has in shared memory at a time.
template <typename Form, int W>
struct FusedTile {
  static constexpr int K = FusedJet<Form>::size;
  static constexpr int strip = K == 1 ? 4 : (K == 2 ? 2 : 1);  // groups of a warp
  static constexpr int groups = strip * FusedWarps<W>::rows;
  // (groups, K), of 16 rows each.
  static constexpr int steps = groups * K;
  static constexpr int words = groups * FusedImage<W>::words(K);
  static constexpr int units = groups * FusedImage<W>::units(K);
};

// What a thread of eight warps has: of a group the points g and g + 8, of the warp's two tiles j of
// 8 neurons the columns 2t and 2t + 1; its accumulators e are point e / 2, column e % 2.
template <int W>
struct FusedLane {
  int lane, g, t, slice, warp_row;

  template <typename Thread>
  COLLOC_BLOCK explicit FusedLane(const Thread& thread)
      : lane(thread.lane()),
        g(lane / 4),
        t(lane % 4),
        slice(thread.warp() % FusedWarps<W>::slices),
        warp_row(thread.warp() / FusedWarps<W>::slices) {}

  COLLOC_BLOCK int tile(int j) const { return slice * 2 + j; }
  COLLOC_BLOCK int column(int j) const { return tile(j) * 8 + 2 * t; }
  // In the image of a component; of point g + 8 it is 8 rows further.
  COLLOC_BLOCK int image() const { return FusedImage<W>::of_lane(g, slice, t); }
};

template <typename Thread>
COLLOC_BLOCK float sum_over_points(const Thread& thread, float x) {
  x += thread.shuffle_xor(x, 4);
  x += thread.shuffle_xor(x, 8);
  return x + thread.shuffle_xor(x, 16);
}

COLLOC_BLOCK void add_to(float* sum, float x, bool fresh) { *sum = fresh ? x : *sum + x; }

// Element e of a nested array.
template <typename Part>
COLLOC_BLOCK float& fused_flat(Part& part, int e) {
  return reinterpret_cast<float*>(&part)[e];
}

// The first part becomes the last.
template <typename Part, int Count>
COLLOC_BLOCK void fused_turn(Part (&parts)[Count]) {
  constexpr int size = sizeof(Part) / sizeof(float);
  COLLOC_UNROLL
  for (int e = 0; e < size; ++e) {
    const float first = fused_flat(parts[0], e);
    COLLOC_UNROLL
    for (int i = 0; i + 1 < Count; ++i) fused_flat(parts[i], e) = fused_flat(parts[i + 1], e);
    fused_flat(parts[Count - 1], e) = first;
  }
}

template <typename Form, int W>
struct FusedAdjoint {
  static constexpr int K = FusedJet<Form>::size, n = Form::inputs;
  using Jet = float[K][4];
  using Sums = float[1 + n][2];
  using Warps = FusedWarps<W>;
  using Lane = FusedLane<W>;

  // Of groups past the last one any jets serve: their gradients are 0.
  template <typename Thread>
  COLLOC_BLOCK static void load(const Thread& thread, const FusedPart& part,
                                const FusedFirst& first, int64_t group, const Lane& lane, int j,
                                Jet& y) {
    group = group < part.groups ? group : part.groups - 1;
    const int64_t tile = group * fused_tiles<W> + lane.tile(j);
    if (!first.wanted()) {
      const float* from = part.y + tile * K * 128 + lane.lane * 4;
      COLLOC_UNROLL
      for (int k = 0; k < K; ++k) thread.load4_once(y[k], from + k * 128);
      return;
    }
    thread.load4_once(y[0], part.y + tile * 128 + lane.lane * 4);
    COLLOC_UNROLL
    for (int k = 1; k < K; ++k) {
      float column[2] = {0.0f, 0.0f};
      if (k <= n) thread.load2(column, first.weight + first.wrt[k - 1] * W + lane.column(j));
      COLLOC_UNROLL
      for (int e = 0; e < 4; ++e) y[k][e] = column[e % 2];
    }
  }

  // Asks for what `load` is to read.
  template <typename Thread>
  COLLOC_BLOCK static void prefetch(const Thread& thread, const FusedPart& part,
                                    const FusedFirst& first, int64_t group, const Lane& lane) {
    if (group >= part.groups) return;
    const int size = first.wanted() ? 1 : K;
    const float* from =
        part.y + (group * fused_tiles<W> + lane.tile(0)) * size * 128 + lane.lane * 4;
    COLLOC_UNROLL
    for (int i = 0; i < 2 * K; ++i) {
      if (i < 2 * size) thread.prefetch(from + i * 128);
    }
  }

  // From pre-activations y and the gradients g by f(y) to those by y, in y, and f(y), in g.
#if defined(__CUDACC__)
  __device__ __forceinline__
#else
  __attribute__((noinline))  // to be compiled once
#endif
      static void
      apply(math::Kind kind, Jet& y, Jet& g) {
    constexpr int degree = FusedJet<Form>::degree + 1;
    float f[4][degree + 1];
    fused_derivatives<degree>(kind, y[0], f);
    COLLOC_UNROLL
    for (int e = 0; e < 4; ++e) {
      float from[K], by_h[K], by_y[K], h[K];
      COLLOC_UNROLL
      for (int k = 0; k < K; ++k) {
        from[k] = y[k][e];
        by_h[k] = g[k][e];
      }
      math::jet_compose_adjoint<Form::order, n>(from, f[e], by_h, by_y);
      math::jet_compose<Form::order, n>(from, f[e], h);
      COLLOC_UNROLL
      for (int k = 0; k < K; ++k) {
        y[k][e] = by_y[k];
        g[k][e] = h[k];
      }
    }
  }

  // Both tiles of a group's jets into its image, in shared memory or `Global`, with their units.
  template <bool Global, typename Thread>
  COLLOC_BLOCK static void write(const Thread& thread, float* image, float* units, const Lane& lane,
                                 const Jet& first, const Jet& second) {
    using Image = FusedImage<W>;
    COLLOC_UNROLL
    for (int k = 0; k < K; ++k) {
      float pair[2][4];
      COLLOC_UNROLL
      for (int e = 0; e < 4; ++e) {
        pair[0][e] = first[k][e];
        pair[1][e] = second[k][e];
      }
      const FusedUnit unit = fused_unit_of(thread, pair);
      COLLOC_UNROLL
      for (int r = 0; r < 2; ++r) {
        float high[2], low[2];
        fused_split_row(thread, pair, r, unit, high, low);
        float* to = image + lane.image() + 2 * k * Image::part + r * 8 * Image::row;
        if constexpr (Global) {
          fused_store2(to, high[0], high[1]);
          fused_store2(to + Image::part, low[0], low[1]);
        } else {
          thread.write2(to, high[0], high[1]);
          thread.write2(to + Image::part, low[0], low[1]);
        }
      }
      if (lane.lane == 0) units[k * Image::tiles + lane.slice] = unit.unit;
    }
  }

  // Sums in shared memory: rows (count, W). Each is read and written by one thread alone.
  COLLOC_BLOCK static void clear(float* slots, const Lane& lane, int count) {
    if (lane.g != 0) return;
    for (int i = 0; i < count; ++i) {
      COLLOC_UNROLL
      for (int v = 0; v < 4; ++v) slots[i * W + lane.column(v / 2) + v % 2] = 0.0f;
    }
  }

  COLLOC_BLOCK static void give_slots(const float* slots, const Lane& lane, int count, bool begin,
                                      float* to) {
    if (lane.g != 0) return;
    for (int i = 0; i < count; ++i) {
      COLLOC_UNROLL
      for (int v = 0; v < 4; ++v) {
        const int at = i * W + lane.column(v / 2) + v % 2;
        add_to(to + at, slots[at], begin);
      }
    }
  }

  // Adds the gradients `delta` of a group to the sums, and in the first layer gives those by the
  // values.
  template <typename Thread>
  COLLOC_BLOCK static void keep(const Thread& thread, const FusedPart& part,
                                const FusedFirst& first, int64_t group, const Lane& lane, int j,
                                const Jet& delta, Sums& sums, float* slots) {
    COLLOC_UNROLL
    for (int k = 0; k <= n && k < K; ++k) {
      if (k > 0 && !first.wanted()) break;
      sums[k][0] += delta[k][0] + delta[k][2];
      sums[k][1] += delta[k][1] + delta[k][3];
    }
    if (!first.wanted()) return;
    const int64_t point = part.first_point + group * fused_group + lane.g;
    const bool there[2] = {point < part.points, point + 8 < part.points};
    for (int i = 0; i < first.inputs; ++i) {
      const float a = there[0] ? thread.load(first.x + point * first.inputs + i) : 0.0f;
      const float b = there[1] ? thread.load(first.x + (point + 8) * first.inputs + i) : 0.0f;
      COLLOC_UNROLL
      for (int v = 0; v < 2; ++v) {
        const float sum = sum_over_points(thread, delta[0][v] * a + delta[0][2 + v] * b);
        if (lane.g == 0) slots[i * W + lane.column(j) + v] += sum;
      }
    }
    if (first.delta == nullptr) return;
    COLLOC_UNROLL
    for (int e = 0; e < 4; ++e) {
      const int column = lane.column(j) + e % 2;
      if (there[e / 2] && column < first.width) {
        first.delta[(point + e / 2 * 8) * first.width + column] = delta[0][e];
      }
    }
  }

  // The sums of all points, to a warp row's part of memory (see FusedSums).
  template <typename Thread>
  COLLOC_BLOCK static void give(const Thread& thread, const FusedFirst& first, bool begin,
                                const Lane& lane, const Sums (&sums)[2], float* to) {
    COLLOC_UNROLL
    for (int k = 0; k <= n; ++k) {
      if (k > 0 && !first.wanted()) break;
      COLLOC_UNROLL
      for (int v = 0; v < 4; ++v) {
        const float sum = sum_over_points(thread, sums[v / 2][k][v % 2]);
        if (lane.g == 0) add_to(to + k * W + lane.column(v / 2) + v % 2, sum, begin);
      }
    }
  }
};

}  // namespace colloc
