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
      : device_(like.device()), index_(like.get_device_index()), stream_(current_stream(index_)) {}

  GpuDevice(const GpuDevice&) = delete;
  GpuDevice& operator=(const GpuDevice&) = delete;

  // Memory that the host has in common must not be given away while kernels may write there.
  ~GpuDevice() {
    if (open_) cudaStreamSynchronize(stream_);
    if (event_ != nullptr) cudaEventDestroy(event_);
  }

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

  // Page-locked memory of the host, which kernels write to directly. Under capture of a graph,
  // where nothing can be waited for, it is refused by what the wait would say.
  template <typename X>
  X* with_host() {
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    refuse(cudaStreamIsCapturing(stream_, &capture));
    if (capture != cudaStreamCaptureStatusNone) refuse(cudaStreamSynchronize(stream_));
    const torch::stable::Device host(torch::headeronly::DeviceType::CPU);
    held_.push_back(torch::stable::empty({static_cast<int64_t>(sizeof(X))}, ScalarType::Byte,
                                         std::nullopt, host, true));
    open_ = true;
    return static_cast<X*>(held_.back().mutable_data_ptr());
  }

  void mark() {
    if (event_ == nullptr) refuse(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
    refuse(cudaEventRecord(event_, stream_));
    open_ = true;
  }

  // What kernels before the mark have written; those after it go on.
  template <typename X>
  X received(const X* from) {
    refuse(cudaEventSynchronize(event_));
    open_ = false;
    return *from;
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
    refuse(cudaMemcpyAsync(to, from, bytes, kind, stream_));
    refuse(cudaStreamSynchronize(stream_));
  }

  static void refuse(cudaError_t status) {
    STD_TORCH_CHECK(status == cudaSuccess, "importance sampling: ", cudaGetErrorString(status));
  }

  torch::stable::Device device_;
  int32_t index_;
  cudaStream_t stream_;
  cudaEvent_t event_ = nullptr;
  bool open_ = false;  // kernels may still write to the host's memory
  std::vector<Tensor> held_;
};

}  // namespace colloc
