// The kernels of importance sampling on the host.
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/importance_probabilities_body.h"
#include "cuda/importance_sample_body.h"
#include "host_launch/arrays.h"

namespace colloc {
namespace {

// Stands for the GPU in importance sampling. Memory has guards behind it.
class HostDevice {
 public:
  explicit HostDevice(int64_t least_walked = 0) : least_walked_(least_walked) {}

  int64_t least_walked() const { return least_walked_; }

  template <typename Body>
  void run(const Body& body) {
    run_on_host(body);
  }

  template <typename Body>
  void run_blocks(const Body& body, const BlockGrid& grid) {
    run_blocks_on_host(body, grid);
  }

  template <typename X>
  X* take(int64_t count) {
    const size_t bytes = count * sizeof(X);
    held_.emplace_back(std::make_unique<char[]>(bytes + guard), bytes);
    std::memset(held_.back().first.get(), 0xa5, bytes + guard);
    return reinterpret_cast<X*>(held_.back().first.get());
  }

  template <typename X>
  X* with_host() {
    return take<X>(1);
  }

  void mark() {}

  template <typename X>
  X received(const X* from) {
    return *from;
  }

  template <typename X>
  X fetch(const X* from) {
    return *from;
  }

  template <typename X>
  std::vector<X> load(const X* from, int64_t count) {
    return {from, from + count};
  }

  template <typename X>
  void upload(const std::vector<X>& values, X* to) {
    std::copy(values.begin(), values.end(), to);
  }

  template <typename X>
  void save(const std::vector<X>& values, X* to) {
    ++saves;
    upload(values, to);
  }

  void check_guards() const {
    for (const auto& [memory, bytes] : held_) {
      for (size_t i = bytes; i < bytes + guard; ++i) {
        if (memory[i] != static_cast<char>(0xa5)) throw std::runtime_error("written past the end");
      }
    }
  }

  int saves = 0;

 private:
  static constexpr size_t guard = 256;
  int64_t least_walked_;
  std::vector<std::pair<std::unique_ptr<char[]>, size_t>> held_;
};

template <typename T>
DeviceShares shares_of(const Array<T>& area) {
  if constexpr (sizeof(T) == 4) {
    return {read(area), nullptr};
  } else {
    return {nullptr, read(area)};
  }
}

// Returns whether all was 0.
template <typename T>
bool importance_probabilities(Array<T> measure, std::vector<int64_t> sizes,
                              std::vector<int64_t> strides, bool norm, double power, Array<T> area,
                              double floor, double relative_floor, Array<double> out) {
  const MeasureArrays<T> rows{
      measure.data(), strides[0], strides[1],      sizes[1], norm,
      power,          {},         shares_of(area), sizes[0], out.mutable_data()};
  HostDevice device;
  const bool uniform = probability_bodies(
      rows, floor, relative_floor, device, [](const math::MeasureTotals& totals) {
        if (totals.bad + totals.bad_area == 0) return;
        throw std::invalid_argument("bad " + std::to_string(totals.bad) + " first " +
                                    std::to_string(totals.first_bad) + " area " +
                                    std::to_string(totals.bad_area) + " first " +
                                    std::to_string(totals.first_bad_area));
      });
  device.check_guards();
  return uniform;
}

// Returns how often indices had to be moved apart.
template <typename T>
int importance_sample(int scheme, int64_t seed, Array<double> q, int64_t items, Array<T> area,
                      int64_t n, Array<int64_t> index, Array<T> weight, int64_t least_walked) {
  const SampleArrays<T> arrays{static_cast<math::DrawScheme>(scheme),
                               static_cast<uint64_t>(seed),
                               q.data(),
                               shares_of(area),
                               items,
                               n,
                               index.mutable_data(),
                               weight.mutable_data()};
  HostDevice device(least_walked);
  sample_bodies(arrays, device, [&](const math::PoolTotals& totals) {
    if (totals.bad + totals.bad_area > 0) {
      throw std::invalid_argument("bad " + std::to_string(totals.bad) + " first " +
                                  std::to_string(totals.first_bad));
    }
    if (arrays.scheme == math::DrawScheme::without_replacement && n > totals.positive) {
      throw std::invalid_argument("positive " + std::to_string(totals.positive));
    }
  });
  device.check_guards();
  return device.saves;
}

// Moves repeated indices apart, in place.
void separate_indices(Array<int64_t> index, Array<double> q, double limit) {
  separate(index.mutable_data(), index.size(), q.data(), q.size(), limit);
}

}  // namespace

void add_importance(py::module_& m) {
  m.def("importance_probabilities_float32", &importance_probabilities<float>);
  m.def("importance_probabilities_float64", &importance_probabilities<double>);
  m.def("importance_separate", &separate_indices);
  m.def("importance_sample_float32", &importance_sample<float>);
  m.def("importance_sample_float64", &importance_sample<double>);
}

}  // namespace colloc
