// The jet of a whole multilayer perceptron, tile by tile: some points go through all layers
// while their jets stay in the second cache. Jets of a tile are (points, K, W).
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/kernels/kernels.h"

namespace colloc {

template <typename T>
struct TiledLayer {
  int64_t in, out;
  const T* weight;  // (out, in)
  const T* bias;    // (out) or null
  const T* beta;    // hidden layers of kind stan: (out)
  math::Kind kind;  // hidden layers
};

// One gradient of each layer, null where it is not wanted.
template <typename T>
struct TiledGradients {
  std::vector<T*> weight, bias, beta;
  T* x = nullptr;

  bool wanted(size_t layer) const {
    return weight[layer] != nullptr || bias[layer] != nullptr || beta[layer] != nullptr;
  }
};

template <typename T>
struct TiledNetwork {
  std::vector<TiledLayer<T>> layers;  // the last one is linear
  math::JetOrder order;
  int n, size;
  int64_t points, inputs;
  const T* x;                // (points, inputs)
  std::vector<int64_t> wrt;  // n of the inputs
  JetKernels<T> kernels;

  // How many pre-activations belong to a point: the first layer's values, and all components of
  // the other hidden layers.
  int64_t kept_per_point() const;
  // Points that go through the layers together; depends on the shapes alone.
  int64_t tile_points() const;

  // out (points, size, m). `kept` has room for the pre-activations of the first kept_points
  // points and receives those of the whole tiles among them.
  void forward(T* out, T* kept, int64_t kept_points) const;
  // grad (points, size, m); the gradients are overwritten. Points that were not kept are
  // evaluated again. The order of the sums depends on the number of threads alone.
  void backward(const T* grad, const T* kept, int64_t kept_points,
                const TiledGradients<T>& gradients) const;
};

}  // namespace colloc
