#include <algorithm>

#include "cpu/mlp_jet_walk.h"

namespace colloc {
namespace {

constexpr int64_t most_rows = 256;  // of a jet in a tile
constexpr int64_t fewest_points = 32, tiles_wanted = 8;
constexpr int64_t most_sums = int64_t{512} << 20;  // bytes of all threads' sums of gradients

template <typename T>
void add(const T* values, int64_t count, double* sums) {
  for (int64_t i = 0; i < count; ++i) sums[i] += static_cast<double>(values[i]);
}

// One thread's sums of the gradients.
template <typename T>
struct Sums {
  std::vector<std::vector<T>> weight;
  std::vector<std::vector<double>> bias, beta;  // bias: of the first layer also the columns

  Sums(const TiledNetwork<T>& net, const TiledGradients<T>& wanted) {
    const size_t count = net.layers.size();
    weight.resize(count);
    bias.resize(count);
    beta.resize(count);
    for (size_t l = 0; l < count; ++l) {
      const auto& layer = net.layers[l];
      if (wanted.weight[l] != nullptr) weight[l].assign(layer.out * layer.in, T(0));
      bias[l].assign((l == 0 ? 1 + net.n : 1) * layer.out, 0.0);
      beta[l].assign(layer.out, 0.0);
    }
  }
};

template <typename T>
class BackwardWalk {
 public:
  BackwardWalk(const TiledNetwork<T>& net, const Walk<T>& walk, const TiledGradients<T>& gradients)
      : net_(net), walk_(walk), gradients_(gradients) {
    lowest_ = static_cast<int64_t>(net.layers.size());
    while (lowest_ > 0 && !below(lowest_)) --lowest_;
  }

  // Values that one thread needs besides the kept pre-activations.
  int64_t scratch() const {
    const int64_t jet = Arena<T>::rounded(walk_.jet_values());
    return 4 * jet + Arena<T>::rounded(widest_sums()) + jet;
  }

  void tile(const Tile<T>& tile, const T* grad, T* grad_x, Arena<T>& arena, Sums<T>& sums) const {
    const auto& layers = net_.layers;
    const int64_t last = static_cast<int64_t>(layers.size()) - 1, size = net_.size;
    T* h = arena.take(walk_.jet_values());
    T* by_h = arena.take(walk_.jet_values());
    T* by_y[2] = {arena.take(walk_.jet_values()), arena.take(walk_.jet_values())};
    T* small = arena.take(widest_sums());
    T* by_beta = arena.take(walk_.jet_values());
    const T* delta = grad + tile.begin * size * layers[last].out;
    for (int64_t p = 0; p < tile.points; ++p) {
      add(delta + p * size * layers[last].out, layers[last].out, sums.bias[last].data());
    }
    for (int64_t l = last - 1; l >= 0 && l + 1 >= lowest_; --l) {
      const auto& above = layers[l + 1];
      const int64_t width = layers[l].out;
      product(tile.points * size, width, above.out, delta, above.out, above.weight, by_h);
      JetRows<T> rows = walk_.rows(tile, l);
      const int64_t sums_size = (l == 0 ? 1 + net_.n : 1) * width;
      std::fill_n(small, sums_size, T(0));
      rows.g = by_h;
      rows.out = by_y[l % 2];
      rows.h = h;
      rows.by_beta = gradients_.beta[l] != nullptr ? by_beta : nullptr;
      rows.sums = small;
      net_.kernels.backward(rows);
      add(small, sums_size, sums.bias[l].data());
      if (rows.by_beta != nullptr) {
        for (int64_t p = 0; p < tile.points; ++p) {
          add(by_beta + p * width, width, sums.beta[l].data());
        }
      }
      if (gradients_.weight[l + 1] != nullptr) {
        add_transposed_product(above.out, width, tile.points * size, delta, above.out, h, width,
                               sums.weight[l + 1].data());
      }
      delta = by_y[l % 2];
    }
    if (lowest_ > 0) return;
    const auto& first = layers[0];
    if (gradients_.weight[0] != nullptr) {
      add_transposed_product(first.out, first.in, tile.points, delta, size * first.out,
                             net_.x + tile.begin * first.in, first.in, sums.weight[0].data());
    }
    if (grad_x != nullptr) {
      product(tile.points, first.in, first.out, delta, size * first.out, first.weight,
              grad_x + tile.begin * first.in);
    }
  }

  // Adds up the threads' sums in their order.
  void reduce(std::vector<Sums<T>>& threads) const {
    for (size_t l = 0; l < net_.layers.size(); ++l) {
      const auto& layer = net_.layers[l];
      Sums<T>& total = threads[0];
      for (size_t t = 1; t < threads.size(); ++t) {
        for (size_t i = 0; i < total.weight[l].size(); ++i) {
          total.weight[l][i] += threads[t].weight[l][i];
        }
        for (size_t i = 0; i < total.bias[l].size(); ++i) total.bias[l][i] += threads[t].bias[l][i];
        for (size_t i = 0; i < total.beta[l].size(); ++i) total.beta[l][i] += threads[t].beta[l][i];
      }
      if (l == 0 && net_.size > 1 && gradients_.weight[0] != nullptr) {
        for (int i = 0; i < net_.n; ++i) {
          for (int64_t j = 0; j < layer.out; ++j) {
            total.weight[0][j * layer.in + net_.wrt[i]] +=
                static_cast<T>(total.bias[0][(1 + i) * layer.out + j]);
          }
        }
      }
      const auto give = [&](const auto& from, T* to, int64_t count) {
        for (int64_t i = 0; i < count && to != nullptr; ++i) to[i] = static_cast<T>(from[i]);
      };
      give(total.weight[l], gradients_.weight[l], layer.out * layer.in);
      give(total.bias[l], gradients_.bias[l], layer.out);
      give(total.beta[l], gradients_.beta[l], layer.out);
    }
  }

 private:
  // Whether anything below layer l, or the points, wants a gradient.
  bool below(int64_t l) const {
    if (gradients_.x != nullptr) return false;
    for (int64_t k = 0; k < l; ++k) {
      if (gradients_.wanted(k)) return false;
    }
    return true;
  }
  int64_t widest_sums() const {
    int64_t widest = 0;
    for (const auto& layer : net_.layers) widest = std::max(widest, layer.out);
    return (1 + net_.n) * widest;
  }

  const TiledNetwork<T>& net_;
  const Walk<T>& walk_;
  const TiledGradients<T>& gradients_;
  int64_t lowest_;  // the lowest layer that wants a gradient; 0 where the points do
};

}  // namespace

template <typename T>
int64_t TiledNetwork<T>::kept_per_point() const {
  int64_t values = 0;
  for (size_t l = 0; l + 1 < layers.size(); ++l) values += (l == 0 ? 1 : size) * layers[l].out;
  return values;
}

template <typename T>
int64_t TiledNetwork<T>::tile_points() const {
  const int64_t shared = std::max(fewest_points, (points + tiles_wanted - 1) / tiles_wanted);
  return std::max<int64_t>(1, std::min(most_rows / size, shared));
}

template <typename T>
void TiledNetwork<T>::forward(T* out, T* kept, int64_t kept_points) const {
  const Walk<T> walk(*this);
  const int64_t each = tile_points(), tiles = (points + each - 1) / each;
  for_tiles(tiles, threads_for(tiles), [&](int64_t, int64_t begin, int64_t end) {
    Arena<T> arena(Arena<T>::rounded(walk.jet_values()) +
                   Arena<T>::rounded(each * kept_per_point()));
    T* h = arena.take(walk.jet_values());
    T* own = arena.take(each * kept_per_point());
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i * each, count = std::min(points - first, each);
      const bool keep = first + count <= kept_points;
      const Tile<T> tile{first, count, keep ? kept + first * kept_per_point() : own};
      walk.forward(tile, h);
      walk.output(tile, h, out);
    }
  });
}

template <typename T>
void TiledNetwork<T>::backward(const T* grad, const T* kept, int64_t kept_points,
                               const TiledGradients<T>& gradients) const {
  const Walk<T> walk(*this);
  const BackwardWalk<T> back(*this, walk, gradients);
  const int64_t each = tile_points(), tiles = (points + each - 1) / each;
  int64_t values = 1;
  for (const auto& layer : layers) values += layer.out * layer.in;
  const int64_t most_threads = most_sums / (values * static_cast<int64_t>(sizeof(T)));
  const int64_t threads = std::clamp<int64_t>(most_threads, 1, threads_for(tiles));
  std::vector<Sums<T>> sums(threads, Sums<T>(*this, gradients));
  for_tiles(tiles, threads, [&](int64_t thread, int64_t begin, int64_t end) {
    Arena<T> arena(back.scratch() + Arena<T>::rounded(each * kept_per_point()) +
                   Arena<T>::rounded(walk.jet_values()));
    for (int64_t i = begin; i < end; ++i) {
      arena.reset();
      const int64_t first = i * each, count = std::min(points - first, each);
      const bool was_kept = first + count <= kept_points;
      // Kept values are only read.
      const Tile<T> tile{first, count,
                         was_kept ? const_cast<T*>(kept) + first * kept_per_point()
                                  : arena.take(each * kept_per_point())};
      if (!was_kept) walk.forward(tile, arena.take(walk.jet_values()));
      back.tile(tile, grad, gradients.x, arena, sums[thread]);
    }
  });
  back.reduce(sums);
}

template struct TiledNetwork<float>;
template struct TiledNetwork<double>;

}  // namespace colloc
