// How tiles of points go through the layers of a perceptron: memory, the sweep forward, threads.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "cpu/blas.h"
#include "cpu/mlp_jet.h"

namespace colloc {

struct FreeMemory {
  void operator()(void* memory) const { std::free(memory); }
};

// Uninitialised memory on a cache line, cut into parts.
template <typename T>
class Arena {
 public:
  explicit Arena(int64_t values)
      : memory_(static_cast<T*>(std::aligned_alloc(64, rounded(values) * sizeof(T)))),
        at_(memory_.get()) {}

  T* take(int64_t values) {
    T* part = at_;
    at_ += rounded(values);
    return part;
  }
  void reset() { at_ = memory_.get(); }

  // Parts start on cache lines of their own, and not all in the same set of the first cache.
  static int64_t rounded(int64_t values) { return (values + 63) / 64 * 64 + 64; }

 private:
  std::unique_ptr<T, FreeMemory> memory_;
  T* at_;
};

// A stretch of the points and where its pre-activations lie.
template <typename T>
struct Tile {
  int64_t begin, points;
  T* kept;
};

template <typename T>
class Walk {
 public:
  explicit Walk(const TiledNetwork<T>& network) : net_(network) {
    for (const auto& layer : net_.layers) widest_ = std::max(widest_, layer.out);
    const auto& first = net_.layers[0];
    columns_.resize(net_.n * first.out);
    for (int i = 0; i < net_.n; ++i) {
      for (int64_t j = 0; j < first.out; ++j) {
        columns_[i * first.out + j] = first.weight[j * first.in + net_.wrt[i]];
      }
    }
  }

  int64_t hidden() const { return static_cast<int64_t>(net_.layers.size()) - 1; }
  int64_t jet_values() const { return net_.tile_points() * net_.size * widest_; }

  // The pre-activations of hidden layer l in a tile's memory.
  T* kept(const Tile<T>& tile, int64_t l) const {
    int64_t offset = 0;
    for (int64_t k = 0; k < l; ++k) offset += (k == 0 ? 1 : net_.size) * net_.layers[k].out;
    return tile.kept + offset * tile.points;
  }

  JetRows<T> rows(const Tile<T>& tile, int64_t l) const {
    const auto& layer = net_.layers[l];
    JetRows<T> rows{};
    rows.kind = layer.kind;
    rows.order = net_.order;
    rows.n = net_.n;
    rows.points = tile.points;
    rows.width = layer.out;
    rows.bias = layer.bias;
    rows.beta = layer.beta;
    rows.y = kept(tile, l);
    rows.columns = l == 0 ? columns_.data() : nullptr;
    return rows;
  }

  // Fills the tile's pre-activations; leaves the last hidden layer's jet in h.
  void forward(const Tile<T>& tile, T* h) const {
    for (int64_t l = 0; l < hidden(); ++l) {
      const auto& layer = net_.layers[l];
      if (l == 0) {
        product_transposed(tile.points, layer.out, layer.in, net_.x + tile.begin * layer.in,
                           layer.in, layer.weight, kept(tile, l));
      } else {
        product_transposed(tile.points * net_.size, layer.out, layer.in, h, layer.in, layer.weight,
                           kept(tile, l));
      }
      JetRows<T> part = rows(tile, l);
      part.h = h;
      net_.kernels.forward(part);
    }
  }

  void output(const Tile<T>& tile, const T* h, T* out) const {
    const auto& last = net_.layers.back();
    T* part = out + tile.begin * net_.size * last.out;
    product_transposed(tile.points * net_.size, last.out, last.in, h, last.in, last.weight, part);
    if (last.bias == nullptr) return;
    for (int64_t p = 0; p < tile.points; ++p) {
      for (int64_t j = 0; j < last.out; ++j) part[p * net_.size * last.out + j] += last.bias[j];
    }
  }

 private:
  const TiledNetwork<T>& net_;
  std::vector<T> columns_;  // (n, W): the first derivatives of the first layer
  int64_t widest_ = 0;
};

// Runs `work(thread, tile)` for every tile: consecutive tiles to each thread.
template <typename Work>
void for_tiles(int64_t tiles, int64_t threads, const Work& work) {
  torch::stable::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t thread = begin; thread < end; ++thread) {
      work(thread, thread * tiles / threads, (thread + 1) * tiles / threads);
    }
  });
}

inline int64_t threads_for(int64_t tiles) {
  return std::max<int64_t>(1, std::min<int64_t>(tiles, torch::stable::get_num_threads()));
}

}  // namespace colloc
