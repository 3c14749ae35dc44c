// Compiles the kernels of mlp_jet_fused_forward.h.
#include "cuda/mlp_jet_fused_forward.h"

#include "common/block_launch.cuh"
#include "cuda/mlp_jet_fused_launch.h"

namespace colloc {

void launch_fused_forward(const FusedChoice& choice, const FusedNetwork& net, int64_t first,
                          int64_t count, float* out, float* kept, int64_t kept_groups, bool exact) {
  with_fused_form(choice.order, choice.n, choice.width, [&](auto form, auto width) {
    using Form = decltype(form);
    using Body = FusedForwardBody<Form::order, Form::inputs, decltype(width){}>;
    const int groups = static_cast<int>(count);
    const int most = Body::least_blocks * multiprocessors(choice.device);
    const Body body{net,    first,
                    groups, out,
                    kept,   static_cast<int>(kept_groups),
                    exact,  Body::members_of(groups, most)};
    launch_blocks(body, body.grid(most), choice.device);
  });
}

}  // namespace colloc
