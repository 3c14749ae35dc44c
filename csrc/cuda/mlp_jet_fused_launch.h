// Between the ops mlp_jet_fused and mlp_jet_fused_backward and the files that compile their
// kernels.
#pragma once

#include "common/check.h"
#include "cuda/mlp_jet_fused_layout.h"
#include "cuda/mlp_jet_fused_weights_body.h"

namespace colloc {

struct FusedBackwardCall;

// Which of the kernels, and where.
struct FusedChoice {
  math::JetOrder order;
  int n, width;
  int32_t device;
};

// Jets of groups first, ..., first + count - 1 into `out`, and the pre-activations of the first
// kept_groups of them into `kept`; each may be null.
void launch_fused_forward(const FusedChoice& choice, const FusedNetwork& net, int64_t first,
                          int64_t count, float* out, float* kept, int64_t kept_groups, bool exact);

// All launches of the backward; scratch memory is of the dtype and device of `like`. Returns false
// where a block's memory is too small, before anything is launched.
bool launch_fused_backward(const FusedChoice& choice, const FusedBackwardCall& call,
                           const Tensor& like);

}  // namespace colloc
