// How the kernels of op mlp_jet_fused hold what they exchange: the network, its weights in the
// order of the matrix products' fragments, jets in shared memory and pre-activations that are kept.
//
// Points go in groups of 16, hidden layers are padded with zeros to one width W, 64 or 128. A tile
// of 16 rows is one component k of the jets of a group, so a thread has all components of its
// points and neurons in the accumulators of a product.
#pragma once

#include <cstdint>

#include "common/block_thread.h"
#include "math/activation.h"
#include "math/elementary.h"
#include "math/jet.h"

namespace colloc {

constexpr int fused_group = 16;        // points
constexpr int most_fused_layers = 62;  // hidden ones, one bit each in the backward's mask
constexpr int most_fused_inputs = 8;
constexpr int most_fused_outputs = 4;
constexpr int widest_fused = 128;
constexpr int64_t most_fused_points = int64_t{1} << 34;  // groups are counted in 32 bits

// What the kernels know of the network.
struct FusedNetwork {
  int64_t points;
  int inputs, hidden, outputs;    // d; hidden layers, at least 1; m
  const float* x;                 // (points, inputs)
  const float* packed;            // see FusedWeights
  int wrt[math::max_jet_inputs];  // the inputs that are differentiated by
  uint8_t kinds[most_fused_layers];

  COLLOC_HD_MEMBER int64_t groups() const { return (points + fused_group - 1) / fused_group; }
};

// Where the parameters stand in the packed memory, floats from its begin; each part is a multiple
// of 16 bytes. Of padded neurons all is 0.
struct FusedWeights {
  int width, inputs, hidden, outputs;

  // The first layer's weight, transposed: (inputs, W).
  COLLOC_HD_MEMBER int64_t first() const { return 0; }
  // Of hidden layer l: (W).
  COLLOC_HD_MEMBER int64_t bias(int l) const { return int64_t{width} * (inputs + l); }
  // The last layer's weight, (outputs, W), and its bias, (4).
  COLLOC_HD_MEMBER int64_t last() const { return bias(hidden); }
  COLLOC_HD_MEMBER int64_t last_bias() const { return last() + int64_t{width} * outputs; }
  // Of hidden layer l > 0 its weight as the right factor B (k, n) of products, in fragments: for
  // y = h W^T (below = 0) B (k, n) = weight (n, k), for by_h = delta W (below = 1) weight (k, n).
  // Of 16 rows s and 8 columns nt of B a lane has {b0, b1} of the high parts and of the low ones
  // at ((s * W / 8 + nt) * 32 + lane) * 4; then come the units of columns nt, (W / 8).
  COLLOC_HD_MEMBER int64_t square(int l, int below) const {
    return last_bias() + 4 + (2 * (l - 1) + below) * (int64_t{width} * width + width / 8);
  }
  COLLOC_HD_MEMBER int64_t units(int l, int below) const {
    return square(l, below) + int64_t{width} * width;
  }
  // Floats in all.
  COLLOC_HD_MEMBER int64_t size() const { return square(hidden, 0); }
};

// A product in float32 is made of products of halves (float16), whose 11 bits leave a rest of 11
// more: with a power of two, the unit, x = unit (high + low), and a b = low high + high low +
// high high (Ootomo and Yokota, doi:10.1177/10943420221090256, who use the split for TF32 too).
// The largest of the numbers with one unit, a tile of 16 x 16 of a jet or 8 columns of a weight,
// are made 2^14 or more, so that what is below the range of halves is less than 2^-39 of them. Each
// tile's product is taken out of the tensor cores, which cut off sums, and added with its unit.
struct FusedUnit {
  float unit, inverse;
};

// `most`: the bits of the largest absolute value that is finite.
COLLOC_HD FusedUnit fused_unit(uint32_t most) {
  uint32_t exponent = most >> 23;
  exponent = exponent < 15u ? 15u : (exponent > 254u ? 254u : exponent);
  return {math::bits_as<float>((exponent - 14u) << 23),
          math::bits_as<float>((268u - exponent) << 23)};
}

// A group's jets as halves: (K, 2, 16, W / 2) words (of two halves), the high parts before the low
// ones. Of 16 neighbouring columns, which are a tile, a lane's four stand together, for its
// accumulators: half 4t + 2j + e is column 8j + 2t + e. A row's 16-byte pieces are in an order of
// its own, such that eight rows of one piece, and four rows of two neighbouring ones, lie in
// different banks. Beside them the tiles' units, (K, W / 16).
COLLOC_HD int fused_swizzle(int row) { return ((row & 3) << 1) | ((row >> 2) & 1); }

template <int W>
struct FusedImage {
  static constexpr int row = W / 2, part = fused_group * row, tiles = W / 16;

  static constexpr int words(int K) { return 2 * K * part; }
  static constexpr int units(int K) { return K * tiles; }
  // Of words 0 to 3 of piece c of row p.
  static COLLOC_HD_MEMBER int piece(int p, int c) {
    return p * row + ((c ^ fused_swizzle(p)) << 2);
  }
  // Two words: of row p the lane's four columns of tile q.
  static COLLOC_HD_MEMBER int of_lane(int p, int q, int t) {
    return piece(p, 2 * q + t / 2) + t % 2 * 2;
  }
};

// The column of half i of a tile.
COLLOC_HD int fused_column(int i) { return i / 2 % 2 * 8 + i / 4 * 2 + i % 2; }

template <int W>
constexpr int fused_tiles = W / 8;

// Floats of a group in FusedKept.
constexpr int64_t fused_kept_per_group(int width, int size, int hidden) {
  return int64_t{fused_group} * width * (1 + int64_t{size} * (hidden - 1));
}

// Pre-activations with their bias, as accumulators of a product: layers one after the other, in
// each (group, nt, k, lane, 4); the first layer has values alone, its derivatives are columns of
// the weight.
template <int W, int K>
struct FusedKept {
  int64_t groups;  // in the buffer

  static constexpr int64_t per_group(int hidden) { return fused_kept_per_group(W, K, hidden); }
  COLLOC_HD_MEMBER int64_t layer(int l) const {
    return groups * fused_group * W * (l == 0 ? 0 : 1 + int64_t{K} * (l - 1));
  }
  // Four floats: accumulators of tile nt, component k.
  COLLOC_HD_MEMBER int64_t at(int l, int64_t group, int nt, int k, int lane) const {
    const int size = l == 0 ? 1 : K;
    return layer(l) + ((group * fused_tiles<W> + nt) * size + k) * 128 + lane * 4;
  }
};

// Global memory that this launch may have written; addresses are multiples of the size.
COLLOC_BLOCK void fused_store2(float* to, float a, float b) {
#if defined(__CUDACC__)
  *reinterpret_cast<float2*>(to) = make_float2(a, b);
#else
  to[0] = a, to[1] = b;
#endif
}

COLLOC_BLOCK void fused_read4(float (&to)[4], const float* from) {
#if defined(__CUDACC__)
  const float4 x = *reinterpret_cast<const float4*>(from);
  to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
#else
  for (int e = 0; e < 4; ++e) to[e] = from[e];
#endif
}

COLLOC_BLOCK void fused_write4(float* to, const float (&x)[4]) {
#if defined(__CUDACC__)
  *reinterpret_cast<float4*>(to) = make_float4(x[0], x[1], x[2], x[3]);
#else
  for (int e = 0; e < 4; ++e) to[e] = x[e];
#endif
}

// A jet that the kernels are made for, as a type.
template <math::JetOrder O, int n>
struct FusedForm {
  static constexpr math::JetOrder order = O;
  static constexpr int inputs = n;
};

// Calls run(FusedForm); false for jets that there are no kernels for.
template <typename Run>
bool with_fused_form(math::JetOrder wanted, int n, const Run& run) {
  using math::JetOrder;
  const JetOrder order = math::canonical(wanted, n);
  if (order == JetOrder::value) return run(FusedForm<JetOrder::value, 1>{}), true;
  if (order == JetOrder::first) {
    if (n == 1) return run(FusedForm<JetOrder::first, 1>{}), true;
    if (n == 2) return run(FusedForm<JetOrder::first, 2>{}), true;
    if (n == 3) return run(FusedForm<JetOrder::first, 3>{}), true;
  }
  if (order == JetOrder::second) {
    if (n == 1) return run(FusedForm<JetOrder::second, 1>{}), true;
    if (n == 2) return run(FusedForm<JetOrder::second, 2>{}), true;
  }
  if (order == JetOrder::laplacian) {
    if (n == 2) return run(FusedForm<JetOrder::laplacian, 2>{}), true;
    if (n == 3) return run(FusedForm<JetOrder::laplacian, 3>{}), true;
  }
  return false;
}

// Calls run(FusedForm, Index<W>).
template <typename Run>
bool with_fused_form(math::JetOrder order, int n, int width, const Run& run) {
  return with_fused_form(order, n, [&](auto form) {
    if (width == 64) {
      run(form, math::Index<64>{});
    } else {
      run(form, math::Index<128>{});
    }
  });
}

// Hidden layers' width in the kernels.
inline int fused_width(int widest) { return widest <= 64 ? 64 : widest_fused; }

}  // namespace colloc
