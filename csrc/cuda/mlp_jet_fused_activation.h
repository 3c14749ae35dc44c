// Derivatives of an activation at several values, with one branch for its kind.
#pragma once

#include "cuda/mlp_jet_fused_layout.h"

// On the host one function for all kernels, which would take minutes to compile.
#if defined(__CUDACC__)
#define COLLOC_LONG COLLOC_HD
#else
#define COLLOC_LONG [[gnu::noinline]] inline
#endif

namespace colloc {

template <math::Kind Which, int N, int Count>
COLLOC_HD void fused_derivatives_of(const float (&t)[Count], float (&f)[Count][N + 1]) {
  math::unroll<0, Count>([&](auto e) COLLOC_INLINE_LAMBDA {
    if constexpr (Which == math::Kind::sin) {
      // The way for large arguments is long: twice, not for every derivative.
      const float s = math::sin_any(t[e], 0), c = math::sin_any(t[e], 1);
      math::unroll<0, N + 1>([&](auto k) COLLOC_INLINE_LAMBDA {
        f[e][k] = k % 4 == 0 ? s : (k % 4 == 1 ? c : (k % 4 == 2 ? -s : -c));
      });
    } else {
      math::activation_derivatives<Which, N>(t[e], 0.0f, f[e]);
    }
  });
}

// f[e][k] = the k-th derivative at t[e], k = 0..N, for the kinds without beta.
template <int N, int Count>
COLLOC_LONG void fused_derivatives(math::Kind kind, const float (&t)[Count],
                                   float (&f)[Count][N + 1]) {
  using math::Kind;
  switch (kind) {
    case Kind::tanh:
      return fused_derivatives_of<Kind::tanh, N>(t, f);
    case Kind::sin:
      return fused_derivatives_of<Kind::sin, N>(t, f);
    case Kind::silu:
      return fused_derivatives_of<Kind::silu, N>(t, f);
    case Kind::gelu:
      return fused_derivatives_of<Kind::gelu, N>(t, f);
    case Kind::gelu_tanh:
      return fused_derivatives_of<Kind::gelu_tanh, N>(t, f);
    case Kind::sigmoid:
      return fused_derivatives_of<Kind::sigmoid, N>(t, f);
    case Kind::softplus:
      return fused_derivatives_of<Kind::softplus, N>(t, f);
    default:
      return fused_derivatives_of<Kind::identity, N>(t, f);
  }
}

}  // namespace colloc
