// The work of one thread of the jet ops: one neuron of one point at a time, all its components.
// Neighbouring threads take neighbouring neurons, so that their loads and stores are joined.
#pragma once

#include "common/thread_index.h"
#include "math/activation.h"
#include "math/jet.h"

namespace colloc {

// What the three ops read and write; pointers that an op does not use are null.
template <typename T>
struct JetArrays {
  math::Kind kind;
  int64_t points, width;
  const T* y;        // (points, size, width); with columns the value alone, (points, width)
  const T* columns;  // (n, width): the first derivatives at every point, the higher ones are 0
  const T* bias;     // (width), added to the value; may be null
  const T* beta;     // (width), for stan
  const T* g;        // backward: the gradient by h; tangent: the direction
  T* out;            // backward: the gradient by y; tangent: that of h
  T* h;              // f(y + bias)
  T* by_beta;        // backward, stan: the gradient by beta, (points, width)
};

// f^(k)(t), k = 0..N, and with Partial for stan their derivatives by beta (0 for the others).
template <int N, bool Partial, typename T>
struct JetDerivatives {
  T f[N + 1];
  T partial[Partial ? N + 1 : 1];
};

// Inlined: a function called instead compiled in the same time (45 s for all kernels and one
// architecture), and its kernels took more registers, e.g. 48 instead of 32 (float, laplacian).
template <int N, bool Partial, typename T>
COLLOC_HD JetDerivatives<N, Partial, T> jet_derivatives(math::Kind kind, T t, T beta) {
  using math::activation_derivatives;
  using math::Kind;
  JetDerivatives<N, Partial, T> d{};
  switch (kind) {
    case Kind::tanh:
      activation_derivatives<Kind::tanh, N>(t, beta, d.f);
      break;
    case Kind::sin:
      activation_derivatives<Kind::sin, N>(t, beta, d.f);
      break;
    case Kind::silu:
      activation_derivatives<Kind::silu, N>(t, beta, d.f);
      break;
    case Kind::gelu:
      activation_derivatives<Kind::gelu, N>(t, beta, d.f);
      break;
    case Kind::gelu_tanh:
      activation_derivatives<Kind::gelu_tanh, N>(t, beta, d.f);
      break;
    case Kind::sigmoid:
      activation_derivatives<Kind::sigmoid, N>(t, beta, d.f);
      break;
    case Kind::softplus:
      activation_derivatives<Kind::softplus, N>(t, beta, d.f);
      break;
    case Kind::identity:
      activation_derivatives<Kind::identity, N>(t, beta, d.f);
      break;
    case Kind::stan:
      if constexpr (Partial) {
        activation_derivatives<Kind::stan, N>(t, beta, d.f, d.partial);
      } else {
        activation_derivatives<Kind::stan, N>(t, beta, d.f);
      }
      break;
  }
  return d;
}

enum class JetWork { forward, backward, tangent };

// The kind is no template parameter: a branch that all threads take together costs little, and
// there would be nine times as many kernels.
template <JetWork Work, math::JetOrder O, int n, typename T>
struct JetBody {
  using Form = math::JetForm<O, n>;
  static constexpr int degree = Form::degree + (Work == JetWork::forward ? 0 : 1);

  JetArrays<T> p;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t i = thread.global; i < p.points * p.width; i += thread.total) {
      const int64_t point = i / p.width;
      run(point, i - point * p.width);
    }
  }

  COLLOC_HD_MEMBER void run(int64_t point, int64_t neuron) const {
    // All loads come first: the compiler may not move one before a store.
    const int64_t at = point * Form::size * p.width + neuron;
    T y[Form::size], g[Form::size], made[Form::size];
    load_point(point, neuron, at, y);
    if constexpr (Work != JetWork::forward) load(p.g, at, g);
    const T beta = p.beta == nullptr ? T(0) : p.beta[neuron];
    const auto d = jet_derivatives < degree, Work == JetWork::backward > (p.kind, y[0], beta);
    if constexpr (Work == JetWork::tangent) {
      math::jet_compose_tangent<O, n>(y, d.f, g, made);
      store(made, at, p.out);
      return;
    }
    math::jet_compose<O, n>(y, d.f, made);
    store(made, at, p.h);
    if constexpr (Work == JetWork::backward) {
      math::jet_compose_adjoint<O, n>(y, d.f, g, made);
      store(made, at, p.out);
      if (p.by_beta == nullptr) return;
      // The derivative of h by beta is a jet of the same form.
      math::jet_compose<O, n>(y, d.partial, made);
      T sum = g[0] * made[0];
      math::unroll<1, Form::size>([&](auto c) COLLOC_INLINE_LAMBDA { sum = sum + g[c] * made[c]; });
      p.by_beta[point * p.width + neuron] = sum;
    }
  }

  COLLOC_HD_MEMBER void load_point(int64_t point, int64_t neuron, int64_t at, T* y) const {
    if (p.columns == nullptr) {
      load(p.y, at, y);
    } else {
      y[0] = p.y[point * p.width + neuron];
      math::unroll<1, Form::size>([&](auto c) COLLOC_INLINE_LAMBDA {
        y[c] = c <= n ? p.columns[(c - 1) * p.width + neuron] : T(0);
      });
    }
    if (p.bias != nullptr) y[0] = y[0] + p.bias[neuron];
  }

  COLLOC_HD_MEMBER void load(const T* from, int64_t at, T* to) const {
    math::unroll<0, Form::size>([&](auto c)
                                    COLLOC_INLINE_LAMBDA { to[c] = from[at + c * p.width]; });
  }

  COLLOC_HD_MEMBER void store(const T* from, int64_t at, T* to) const {
    math::unroll<0, Form::size>([&](auto c)
                                    COLLOC_INLINE_LAMBDA { to[at + c * p.width] = from[c]; });
  }

  // Small blocks: a thread of a large jet takes most of the registers there are.
  Grid grid() const { return grid_for(p.points * p.width, 132 * 32, 128); }
};

// Calls run(JetBody) for a run-time order and n.
template <JetWork Work, math::JetOrder O, typename T, typename Run>
void with_jet_body(int n, const JetArrays<T>& p, const Run& run) {
  if constexpr (O == math::canonical(O, 1)) {
    if (n == 1) return run(JetBody<Work, O, 1, T>{p});
  }
  if (n == 2) return run(JetBody<Work, O, 2, T>{p});
  if (n == 3) return run(JetBody<Work, O, 3, T>{p});
  if (n == 4) return run(JetBody<Work, O, 4, T>{p});
}

template <JetWork Work, typename T, typename Run>
void with_jet_body(math::JetOrder order, int n, const JetArrays<T>& p, const Run& run) {
  using math::JetOrder;
  switch (math::canonical(order, n)) {
    case JetOrder::value:
      return run(JetBody<Work, JetOrder::value, 1, T>{p});
    case JetOrder::first:
      return with_jet_body<Work, JetOrder::first>(n, p, run);
    case JetOrder::laplacian:
      return with_jet_body<Work, JetOrder::laplacian>(n, p, run);
    case JetOrder::second:
      return with_jet_body<Work, JetOrder::second>(n, p, run);
    case JetOrder::grad_laplacian:
      return with_jet_body<Work, JetOrder::grad_laplacian>(n, p, run);
    case JetOrder::third:
      return with_jet_body<Work, JetOrder::third>(n, p, run);
  }
}

}  // namespace colloc
