// What the importance sampling ops need of a GPU: launches, memory, and copies that are waited for.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <vector>

#include "common/block_launch.cuh"
#include "common/check.h"
#include "common/launch.cuh"
#include "common/optional_tensor.h"
#include "cuda/importance_sums_body.h"

namespace colloc {

inline DeviceShares shares_of(const Optional& area) {
  if (!area) return {nullptr, nullptr};
  if (area->scalar_type() == ScalarType::Float) return {data<float>(area), nullptr};
  return {nullptr, data<double>(area)};
}

class GpuDevice {
 public:
  explicit GpuDevice(const Tensor& like)
      : device_(like.device()), index_(like.get_device_index()) {}

  template <typename Body>
  void run(const Body& body) {
    launch(body, body.grid(), index_);
  }

  template <typename Body>
  void run_blocks(const Body& body, const BlockGrid& grid) {
    launch_blocks(body, grid, index_);
  }

  template <typename X>
  X* take(int64_t count) {
    const int64_t bytes = count * static_cast<int64_t>(sizeof(X));
    held_.push_back(torch::stable::empty({bytes}, ScalarType::Byte, std::nullopt, device_));
    return static_cast<X*>(held_.back().mutable_data_ptr());
  }

  template <typename X>
  X fetch(const X* from) {
    X value;
    copy(&value, from, sizeof(X), cudaMemcpyDeviceToHost);
    return value;
  }

  template <typename X>
  std::vector<X> load(const X* from, int64_t count) {
    std::vector<X> values(count);
    copy(values.data(), from, count * sizeof(X), cudaMemcpyDeviceToHost);
    return values;
  }

  template <typename X>
  void upload(const std::vector<X>& values, X* to) {
    copy(to, values.data(), values.size() * sizeof(X), cudaMemcpyHostToDevice);
  }

  template <typename X>
  void save(const std::vector<X>& values, X* to) {
    upload(values, to);
  }

  // With fewer, threads are too few to make up for their loads one after the other.
  int64_t least_walked() const { return 1 << 19; }

 private:
  void copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
    const cudaStream_t stream = current_stream(index_);
    cudaError_t status = cudaMemcpyAsync(to, from, bytes, kind, stream);
    if (status == cudaSuccess) status = cudaStreamSynchronize(stream);
    STD_TORCH_CHECK(status == cudaSuccess, "importance sampling: ", cudaGetErrorString(status));
  }

  torch::stable::Device device_;
  int32_t index_;
  std::vector<Tensor> held_;
};

}  // namespace colloc
