// Compiles the kernels of mlp_jet_fused_backward.h.
#include <torch/csrc/stable/ops.h>

#include <vector>

#include "common/activation_arguments.h"
#include "common/block_launch.cuh"
#include "cuda/mlp_jet_fused_backward_steps.h"
#include "cuda/mlp_jet_fused_launch.h"

namespace colloc {
namespace {

class FusedDevice {
 public:
  FusedDevice(const FusedChoice& choice, const FusedBackwardCall& call, const Tensor& like)
      : choice_(choice), call_(call), like_(like) {}

  // Torch gives it back to this stream alone.
  float* take(int64_t count) {
    held_.push_back(empty_of(like_, {count}));
    return static_cast<float*>(held_.back().mutable_data_ptr());
  }

  template <typename Body>
  void launch(const Body& body, const BlockGrid& grid) {
    launch_blocks(body, grid, choice_.device);
  }

  int multiprocessors() const { return colloc::multiprocessors(choice_.device); }

  size_t most_shared() const {
    int bytes = 0;
    STD_CUDA_CHECK(
        cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, choice_.device));
    return static_cast<size_t>(bytes);
  }

  template <typename Form, int W>
  void forward(Form, math::Index<W>, int64_t first, int64_t groups, float* kept) {
    launch_fused_forward(choice_, call_.net, first, groups, nullptr, kept, groups, call_.exact);
  }

 private:
  const FusedChoice& choice_;
  const FusedBackwardCall& call_;
  const Tensor& like_;
  std::vector<Tensor> held_;
};

bool run_fused_backward(const FusedChoice& choice, const FusedBackwardCall& call,
                        const Tensor& like) {
  FusedDevice device(choice, call, like);
  bool fits = false;
  with_fused_form(choice.order, choice.n, choice.width, [&](auto form, auto width) {
    FusedBackwardSteps<decltype(form), decltype(width){}, FusedDevice> steps(call, device);
    fits = steps.run();
  });
  return fits;
}

}  // namespace

bool launch_fused_backward(const FusedChoice& choice, const FusedBackwardCall& call,
                           const Tensor& like) {
  return run_fused_backward(choice, call, like);
}

}  // namespace colloc
