// Op mlp_jet_squares: squared gradients by the parameters of a perceptron, point by point.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "common/box.h"
#include "cpu/blas.h"
#include "cpu/mlp_jet_arguments.h"
#include "cpu/mlp_jet_walk.h"
#include "cpu/select.h"

namespace colloc {
namespace {

// What is found of a layer at a point, in the order of the result.
enum Found : int { weight, bias, slope_sum, slope_squares, beta_sum, beta_squares, found_count };

template <typename T>
NtkKernels<T> ntk_kernels();
template <>
NtkKernels<float> ntk_kernels<float>() {
  return COLLOC_SELECT(ntk_float);
}
template <>
NtkKernels<double> ntk_kernels<double>() {
  return COLLOC_SELECT(ntk_double);
}

// Numbers of a hidden layer: none, one for all neurons, or one each.
template <typename T>
struct PerNeuron {
  const T* values;
  int64_t count;

  T operator[](int64_t j) const { return values[count == 1 ? 0 : j]; }
};

template <typename T>
class Squares {
 public:
  Squares(const TiledNetwork<T>& net, const std::vector<PerNeuron<T>>& factors,
          const std::vector<PerNeuron<T>>& slopes, int64_t mask, int64_t kinds, double* found)
      : net_(net), walk_(net), factors_(factors), slopes_(slopes), kinds_(kinds), found_(found) {
    const int64_t count = static_cast<int64_t>(net.layers.size());
    for (int64_t l = 0; l < count; ++l) wanted_.push_back((mask >> l) & 1);
    lowest_ = std::find(wanted_.begin(), wanted_.end(), true) - wanted_.begin();
  }

  // kept: the pre-activations of the first kept_points points; the others are evaluated.
  void run(const T* grads, int64_t columns, const T* kept, int64_t kept_points) const {
    const int64_t each = net_.tile_points(), tiles = (net_.points + each - 1) / each;
    const int64_t jet = walk_.jet_values(), inputs = each * net_.size * net_.inputs;
    for_tiles(tiles, threads_for(tiles), [&](int64_t, int64_t begin, int64_t end) {
      Arena<T> arena(6 * Arena<T>::rounded(jet) + Arena<T>::rounded(inputs) +
                     Arena<T>::rounded(each * net_.kept_per_point()) +
                     Arena<T>::rounded((1 + net_.n) * jet));
      for (int64_t i = begin; i < end; ++i) {
        arena.reset();
        const int64_t first = i * each, count = std::min(net_.points - first, each);
        const bool was_kept = first + count <= kept_points;
        // Kept values are only read.
        const Tile<T> tile{first, count,
                           was_kept ? const_cast<T*>(kept) + first * net_.kept_per_point()
                                    : arena.take(each * net_.kept_per_point())};
        Memory memory{arena.take(jet),   arena.take(jet), {arena.take(jet), arena.take(jet)},
                      arena.take(jet),   arena.take(jet), arena.take((1 + net_.n) * jet),
                      arena.take(inputs)};
        if (!was_kept) walk_.forward(tile, memory.h);
        for (int64_t c = 0; c < columns; ++c) {
          const int64_t point = c * net_.points + tile.begin;
          column(tile, grads + point * net_.size * net_.layers.back().out, c, memory);
        }
      }
    });
  }

 private:
  struct Memory {
    T *h, *by_h, *by_y[2], *scaled, *by_beta, *sums, *inputs;
  };

  void column(const Tile<T>& tile, const T* grad, int64_t c, const Memory& m) const {
    const int64_t last = static_cast<int64_t>(net_.layers.size()) - 1, size = net_.size;
    const T* delta = grad;
    for (int64_t l = last; l >= lowest_; --l) {
      const auto& layer = net_.layers[l];
      if (l == 0) {
        fill_inputs(tile, m.inputs);
        layer_squares(tile, l, c, m.inputs, delta, m);
        break;
      }
      product(tile.points * size, layer.in, layer.out, delta, layer.out, layer.weight, m.by_h);
      JetRows<T> rows = walk_.rows(tile, l - 1);
      rows.g = m.by_h;
      rows.out = m.by_y[l % 2];
      rows.h = m.h;
      rows.by_beta = net_.layers[l - 1].beta != nullptr ? m.by_beta : nullptr;
      rows.sums = m.sums;
      std::fill_n(m.sums, (l == 1 ? 1 + net_.n : 1) * layer.in, T(0));
      net_.kernels.backward(rows);
      layer_squares(tile, l, c, m.h, delta, m);
      if (rows.by_beta != nullptr) {
        sums(tile, l - 1, c, beta_sum, [&](int64_t p, int64_t j) {
          return static_cast<double>(m.by_beta[p * layer.in + j]);
        });
      }
      delta = m.by_y[l % 2];
    }
  }

  // Of layer l with inputs h (points, size, in) and gradients delta by n a (W h + b).
  void layer_squares(const Tile<T>& tile, int64_t l, int64_t c, const T* h, const T* delta,
                     const Memory& m) const {
    const auto& layer = net_.layers[l];
    const int64_t size = net_.size, width = layer.out;
    const bool hidden = l + 1 < static_cast<int64_t>(net_.layers.size());
    if (hidden && slopes_[l].count > 0) slope(tile, l, c, delta);
    if (!wanted_[l]) return;
    if (hidden && factors_[l].count > 0) {
      for (int64_t row = 0; row < tile.points * size; ++row) {
        for (int64_t j = 0; j < width; ++j) {
          m.scaled[row * width + j] = delta[row * width + j] * factors_[l][j];
        }
      }
      delta = m.scaled;
    }
    ntk_kernels<T>().trace(h, delta, tile.points, size, layer.in, width, at(c, weight, l, tile),
                           at(c, bias, l, tile));
  }

  // By a of y = n a z: sum_k delta_k y_k / a.
  void slope(const Tile<T>& tile, int64_t l, int64_t c, const T* delta) const {
    const JetRows<T> rows = walk_.rows(tile, l);
    const int64_t size = net_.size, width = rows.width;
    sums(tile, l, c, slope_sum, [&](int64_t p, int64_t j) {
      const T* d = delta + p * size * width + j;
      T sum = rows.bias == nullptr ? T(0) : d[0] * rows.bias[j];
      if (rows.columns != nullptr) {
        sum += d[0] * rows.y[p * width + j];
        for (int k = 0; k < net_.n && size > 1; ++k) {
          sum += d[(1 + k) * width] * rows.columns[k * width + j];
        }
      } else {
        for (int64_t k = 0; k < size; ++k) sum += d[k * width] * rows.y[(p * size + k) * width + j];
      }
      return static_cast<double>(sum) / static_cast<double>(slopes_[l][j]);
    });
  }

  // The sum over the neurons of `value`, and that of its squares.
  template <typename Value>
  void sums(const Tile<T>& tile, int64_t l, int64_t c, int which, const Value& value) const {
    double* plain = at(c, which, l, tile);
    double* squares = at(c, which + 1, l, tile);
    for (int64_t p = 0; p < tile.points; ++p) {
      plain[p] = squares[p] = 0;
      for (int64_t j = 0; j < net_.layers[l].out; ++j) {
        const double one = value(p, j);
        plain[p] += one;
        squares[p] += one * one;
      }
    }
  }

  // The jet of the identity: the first layer's input.
  void fill_inputs(const Tile<T>& tile, T* inputs) const {
    const int64_t width = net_.inputs;
    std::fill_n(inputs, tile.points * net_.size * width, T(0));
    for (int64_t p = 0; p < tile.points; ++p) {
      T* row = inputs + p * net_.size * width;
      std::copy_n(net_.x + (tile.begin + p) * width, width, row);
      for (int k = 0; k < net_.n && net_.size > 1; ++k) row[(1 + k) * width + net_.wrt[k]] = T(1);
    }
  }

  double* at(int64_t c, int which, int64_t l, const Tile<T>& tile) const {
    const int64_t count = static_cast<int64_t>(net_.layers.size());
    return found_ + ((c * kinds_ + which) * count + l) * net_.points + tile.begin;
  }

  const TiledNetwork<T>& net_;
  const Walk<T> walk_;
  const std::vector<PerNeuron<T>>&factors_, &slopes_;
  std::vector<bool> wanted_;
  int64_t lowest_;
  int64_t kinds_;  // of what is found: 2 where there are neither slopes nor betas
  double* found_;
};

// One number or one a neuron for each hidden layer, or none.
template <typename T>
std::vector<PerNeuron<T>> per_neuron(const char* name, const Tensors& tensors,
                                     const MlpArguments& a, Tensors& held) {
  STD_TORCH_CHECK(tensors.size() + 1 == a.weights.size(), name, ": expected ", a.weights.size() - 1,
                  " tensors, one a hidden layer, got ", tensors.size(), ".");
  std::vector<PerNeuron<T>> found;
  for (size_t l = 0; l < tensors.size(); ++l) {
    if (tensors[l].numel() > 1) {
      check_part(name, l, tensors[l], a.weights[l].size(0), a.x);
    } else if (tensors[l].numel() == 1) {
      check_like(name, tensors[l], "x", a.x);
    }
    held.push_back(dense(tensors[l]));
    found.push_back({data_of<T>(held.back()), held.back().numel()});
  }
  return found;
}

template <typename T>
void run(const Tensor& grads, const Tensor& kept, const MlpArguments& a, const Tensors& factors,
         const Tensors& slopes, int64_t mask, const Tensor& found) {
  Tensors held;
  const TiledNetwork<T> net = network_of<T>(a);
  const auto scales = per_neuron<T>("factors", factors, a, held);
  const auto trained = per_neuron<T>("slopes", slopes, a, held);
  STD_TORCH_CHECK(grads.dim() == 4 && grads.size(1) == net.points && grads.size(2) == net.size &&
                      grads.size(3) == net.layers.back().out,
                  "grads: expected shape (q, ", net.points, ", ", net.size, ", ",
                  net.layers.back().out, "), got ", shape_of(grads), ".");
  STD_TORCH_CHECK(
      kept.dim() == 2 && kept.size(0) <= net.points && kept.size(1) == net.kept_per_point(),
      "kept: expected what the forward gave, got shape ", shape_of(kept), ".");
  if (found.numel() == 0) return;
  const Tensor all = dense(grads), held_back = dense(kept);
  Squares<T>(net, scales, trained, mask, found.size(1),
             static_cast<double*>(found.mutable_data_ptr()))
      .run(static_cast<const T*>(all.const_data_ptr()), grads.size(0),
           static_cast<const T*>(held_back.const_data_ptr()), kept.size(0));
}

Tensor mlp_jet_squares(const Tensor& grads, const Tensor& kept, const Tensor& x,
                       const Tensors& weights, const Tensors& biases, const Tensors& betas,
                       const std::vector<int64_t>& kinds, const std::string& order,
                       const std::vector<int64_t>& wrt, const Tensors& factors,
                       const Tensors& slopes, int64_t mask) {
  const MlpArguments a = check_mlp(x, weights, biases, betas, kinds, order, wrt);
  check_like("grads", grads, "x", x);
  check_like("kept", kept, "x", x);
  STD_TORCH_CHECK(grads.dim() == 4, "grads: expected shape (q, N, K, m), got ", shape_of(grads),
                  ".");
  const auto present = [](const Tensor& t) { return t.numel() > 0; };
  const bool more = std::any_of(slopes.begin(), slopes.end(), present) ||
                    std::any_of(betas.begin(), betas.end(), present);
  Tensor found =
      torch::stable::new_zeros(x,
                               {grads.size(0), more ? int64_t{found_count} : int64_t{slope_sum},
                                static_cast<int64_t>(weights.size()), x.size(0)},
                               ScalarType::Double);
  if (x.scalar_type() == ScalarType::Float) {
    run<float>(grads, kept, a, factors, slopes, mask, found);
  } else {
    run<double>(grads, kept, a, factors, slopes, mask, found);
  }
  return found;
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CPU, m) {
  m.impl("mlp_jet_squares", COLLOC_BOX(&colloc::mlp_jet_squares));
}
