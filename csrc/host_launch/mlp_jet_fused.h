// A perceptron whose parameters are NumPy's, as the kernels of op mlp_jet_fused take it.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "common/host_block.h"
#include "common/host_launch.h"
#include "cuda/mlp_jet_fused_forward.h"
#include "cuda/mlp_jet_fused_weights_body.h"

namespace colloc {

namespace py = pybind11;
using FloatArray = py::array_t<float, py::array::c_style>;

// Memory as a GPU gives it: aligned, NaN at first, with guards behind it.
class HostMemory {
 public:
  explicit HostMemory(int64_t count) : count_(count) {
    data_.reset(
        static_cast<float*>(std::aligned_alloc(256, (count + guard) * 4 / 256 * 256 + 256)));
    std::fill(data(), data() + count, std::numeric_limits<float>::quiet_NaN());
    std::fill(data() + count, data() + count + guard, 7.25f);
  }
  float* data() { return data_.get(); }
  int64_t size() const { return count_; }

  // Everything as an array, where nothing was written past the end.
  FloatArray array() {
    for (int64_t i = count_; i < count_ + guard; ++i) {
      if (data()[i] != 7.25f) throw std::runtime_error("written past the end");
    }
    FloatArray found(count_);
    std::copy(data(), data() + count_, found.mutable_data());
    return found;
  }

 private:
  static constexpr int64_t guard = 256;
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  int64_t count_;
  std::unique_ptr<float, Free> data_;
};

struct HostFusedNetwork {
  FusedNetwork net{};
  int width = 0;
  math::JetOrder order;
  int n;
  std::unique_ptr<HostMemory> packed;

  // weights[l]: (out, in); an absent bias is an empty array.
  HostFusedNetwork(const FloatArray& x, const std::vector<FloatArray>& weights,
                   const std::vector<FloatArray>& biases, const std::vector<int>& kinds,
                   int jet_order, const std::vector<int>& wrt)
      : order(static_cast<math::JetOrder>(jet_order)), n(static_cast<int>(wrt.size())) {
    net.points = x.shape(0);
    net.inputs = static_cast<int>(x.shape(1));
    net.hidden = static_cast<int>(weights.size()) - 1;
    net.outputs = static_cast<int>(weights.back().shape(0));
    net.x = x.data();
    std::copy(wrt.begin(), wrt.end(), net.wrt);
    std::copy(kinds.begin(), kinds.end(), net.kinds);
    FusedSources from{};
    from.widths[0] = net.inputs;
    int widest = 0;
    for (int l = 0; l <= net.hidden; ++l) {
      from.weights[l] = weights[l].data();
      from.biases[l] = biases[l].size() == 0 ? nullptr : biases[l].data();
      from.widths[l + 1] = static_cast<int>(weights[l].shape(0));
      if (l < net.hidden) widest = std::max(widest, from.widths[l + 1]);
    }
    width = fused_width(widest);
    const FusedWeights to{width, net.inputs, net.hidden, net.outputs};
    packed = std::make_unique<HostMemory>(to.size());
    const auto pack = [&](auto width_of) {
      const FusedWeightsBody<decltype(width_of){}> body{from, to, packed->data()};
      host_block_launch(body, body.grid());
    };
    if (width == 64) {
      pack(math::Index<64>{});
    } else {
      pack(math::Index<128>{});
    }
    net.packed = packed->data();
  }

  // Calls run(FusedForm, Index<W>).
  template <typename Run>
  void with_form(const Run& run) const {
    if (!with_fused_form(order, n, width, run)) throw std::invalid_argument("order: no kernel");
  }
};

}  // namespace colloc
