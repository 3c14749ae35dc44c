// The work of one thread of the jet ops: one neuron of one point at a time, all its components.
// Neighbouring threads take neighbouring neurons, so that their loads and stores are joined. Jets
// may be stored in 16 bits and are computed in float32 then, two neurons a thread.
#pragma once

#include "common/thread_index.h"
#include "math/activation.h"
#include "math/jet.h"

namespace colloc {

// What the three ops read and write; pointers that an op does not use are null. S is what jets are
// stored in, T what they are computed in.
template <typename T, typename S = T>
struct JetArrays {
  math::Kind kind;
  int64_t points, width;
  const S* y;        // (points, size, width); null with columns
  const T* value;    // with columns: the value alone, (points, width)
  const S* columns;  // (n, width): the first derivatives at every point, the higher ones are 0
  const T* bias;     // (width), added to the value; may be null
  const T* beta;     // (width), for stan
  const S* g;        // backward: the gradient by h; tangent: the direction
  S* out;            // backward: the gradient by y; tangent: that of h
  S* h;              // f(y + bias)
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

// Neighbours in memory that are loaded and stored at once.
template <typename S, int Count>
struct alignas(sizeof(S) * Count) Neighbours {
  S values[Count];
};

// The kind is no template parameter: a branch that all threads take together costs little, and
// there would be nine times as many kernels.
template <JetWork Work, math::JetOrder O, int n, typename T, typename S = T>
struct JetBody {
  using Form = math::JetForm<O, n>;
  static constexpr int degree = Form::degree + (Work == JetWork::forward ? 0 : 1);
  static constexpr int together = sizeof(S) == 2 ? 2 : 1;  // neurons, which divide the width

  JetArrays<T, S> p;

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    const int64_t width = p.width / together;
    for (int64_t i = thread.global; i < p.points * width; i += thread.total) {
      const int64_t point = i / width;
      run(point, (i - point * width) * together);
    }
  }

  COLLOC_HD_MEMBER void run(int64_t point, int64_t neuron) const {
    // All loads come first: the compiler may not move one before a store.
    const int64_t at = point * Form::size * p.width + neuron;
    T y[together][Form::size], g[together][Form::size], made[together][Form::size];
    load_point(point, neuron, at, y);
    if constexpr (Work != JetWork::forward) load(p.g, at, g);
    JetDerivatives<degree, Work == JetWork::backward, T> d[together];
    each([&](auto k) COLLOC_INLINE_LAMBDA {
      d[k] = jet_derivatives < degree,
      Work == JetWork::backward > (p.kind, y[k][0], beta(neuron + k));
    });
    if constexpr (Work == JetWork::tangent) {
      each([&](auto k) COLLOC_INLINE_LAMBDA {
        math::jet_compose_tangent<O, n>(y[k], d[k].f, g[k], made[k]);
      });
      store(made, at, p.out);
      return;
    }
    each([&](auto k) COLLOC_INLINE_LAMBDA { math::jet_compose<O, n>(y[k], d[k].f, made[k]); });
    store(made, at, p.h);
    if constexpr (Work == JetWork::backward) {
      each([&](auto k) COLLOC_INLINE_LAMBDA {
        math::jet_compose_adjoint<O, n>(y[k], d[k].f, g[k], made[k]);
      });
      store(made, at, p.out);
      if (p.by_beta == nullptr) return;
      each([&](auto k) COLLOC_INLINE_LAMBDA {
        // The derivative of h by beta is a jet of the same form.
        math::jet_compose<O, n>(y[k], d[k].partial, made[k]);
        T sum = g[k][0] * made[k][0];
        math::unroll<1, Form::size>([&](auto c)
                                        COLLOC_INLINE_LAMBDA { sum = sum + g[k][c] * made[k][c]; });
        p.by_beta[point * p.width + neuron + k] = sum;
      });
    }
  }

  template <typename Run>
  static COLLOC_HD_MEMBER void each(const Run& run) {
    math::unroll<0, together>(run);
  }

  COLLOC_HD_MEMBER T beta(int64_t neuron) const {
    return p.beta == nullptr ? T(0) : p.beta[neuron];
  }

  COLLOC_HD_MEMBER void load_point(int64_t point, int64_t neuron, int64_t at,
                                   T (*y)[Form::size]) const {
    if (p.columns == nullptr) {
      load(p.y, at, y);
    } else {
      each([&](auto k) COLLOC_INLINE_LAMBDA {
        y[k][0] = p.value[point * p.width + neuron + k];
        math::unroll<1, Form::size>([&](auto c) COLLOC_INLINE_LAMBDA {
          y[k][c] = c <= n ? static_cast<T>(p.columns[(c - 1) * p.width + neuron + k]) : T(0);
        });
      });
    }
    if (p.bias == nullptr) return;
    each([&](auto k) COLLOC_INLINE_LAMBDA { y[k][0] = y[k][0] + p.bias[neuron + k]; });
  }

  static COLLOC_HD_MEMBER Neighbours<S, together> neighbours(const S* from) {
    return *reinterpret_cast<const Neighbours<S, together>*>(from);
  }

  COLLOC_HD_MEMBER void load(const S* from, int64_t at, T (*to)[Form::size]) const {
    math::unroll<0, Form::size>([&](auto c) COLLOC_INLINE_LAMBDA {
      const auto found = neighbours(from + at + c * p.width);
      each([&](auto k) COLLOC_INLINE_LAMBDA { to[k][c] = static_cast<T>(found.values[k]); });
    });
  }

  COLLOC_HD_MEMBER void store(const T (*from)[Form::size], int64_t at, S* to) const {
    math::unroll<0, Form::size>([&](auto c) COLLOC_INLINE_LAMBDA {
      Neighbours<S, together> made;
      each([&](auto k) COLLOC_INLINE_LAMBDA { made.values[k] = static_cast<S>(from[k][c]); });
      *reinterpret_cast<Neighbours<S, together>*>(to + at + c * p.width) = made;
    });
  }

  // Small blocks: a thread of a large jet takes most of the registers there are.
  Grid grid() const { return grid_for(p.points * p.width / together, 132 * 32, 128); }
};

// Whether there are kernels for jets stored in 16 bits.
constexpr bool has_narrow_jet(JetWork work, math::JetOrder order) {
  return work != JetWork::tangent &&
         (order == math::JetOrder::value || order == math::JetOrder::first);
}

// Calls run(JetBody) for a run-time order and n.
template <JetWork Work, math::JetOrder O, typename T, typename S, typename Run>
void with_jet_body(int n, const JetArrays<T, S>& p, const Run& run) {
  if constexpr (sizeof(S) == sizeof(T) || has_narrow_jet(Work, O)) {
    if constexpr (O == math::canonical(O, 1)) {
      if (n == 1) return run(JetBody<Work, O, 1, T, S>{p});
    }
    if (n == 2) return run(JetBody<Work, O, 2, T, S>{p});
    if (n == 3) return run(JetBody<Work, O, 3, T, S>{p});
    if (n == 4) return run(JetBody<Work, O, 4, T, S>{p});
  }
}

// Where S is narrower than T, has_narrow_jet(Work, order) must hold.
template <JetWork Work, typename T, typename S, typename Run>
void with_jet_body(math::JetOrder order, int n, const JetArrays<T, S>& p, const Run& run) {
  using math::JetOrder;
  switch (math::canonical(order, n)) {
    case JetOrder::value:
      if constexpr (sizeof(S) == sizeof(T) || has_narrow_jet(Work, JetOrder::value)) {
        run(JetBody<Work, JetOrder::value, 1, T, S>{p});
      }
      return;
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
