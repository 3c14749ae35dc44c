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
  // Of hidden layer l > 0, for y = h W^T: B (k, n) = weight (n, k), in fragments. Of tiles (kt, nt)
  // and (kt, nt + 1), nt even, a lane has {b0, b1, b0, b1} at (kt * W / 8 + nt) * 64 + lane * 4.
  COLLOC_HD_MEMBER int64_t forward(int l) const {
    return last_bias() + 4 + int64_t{width} * width * (l - 1);
  }
  // Floats in all.
  COLLOC_HD_MEMBER int64_t size() const { return forward(hidden); }
};

// The image of a group's jets in shared memory, and of gradients between kernels: (K, 16, W)
// floats whose rows have their 16-byte chunks in an order of their own, such that eight rows of
// one chunk, and four rows of eight neighbouring columns, lie in different banks.
COLLOC_HD int fused_swizzle(int row) { return ((row & 3) << 1) | ((row >> 2) & 1); }

// Of column c of row p of component k.
template <int W>
COLLOC_HD int fused_image(int k, int p, int c) {
  return (k * fused_group + p) * W + ((((c >> 2) ^ fused_swizzle(p)) << 2) | (c & 3));
}

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
