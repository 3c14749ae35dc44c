// The jets' loops, for one dtype a file: both take long to compile.
#pragma once

#include "math/jet.h"

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/pack.h"

namespace colloc::COLLOC_CAPABILITY {
namespace {

using math::JetForm;
using math::JetOrder;
using math::Kind;

// Elements are taken in blocks that stay in the first cache: first the derivatives of the
// activation, by kind; then their composition with the jet, by order. One after the other, so
// that kinds and orders need no kernel for each of their pairs.
constexpr int64_t block = 256;

template <typename T>
struct Derivatives {
  alignas(64) T f[(math::max_activation_order + 1) * block];
  alignas(64) T by_beta[(math::max_activation_order + 1) * block];
};

// ---- f^(k)(y + bias), k = 0..N --------------------------------------------------------------

template <Kind K, int N, bool BranchFree, bool Partial, typename T>
COLLOC_HD void derivatives_element(T t, T beta, int64_t i, Derivatives<T>& out) {
  T d[N + 1];
  if constexpr (Partial) {
    T partial[N + 1];
    math::activation_derivatives<K, N, BranchFree>(t, beta, d, partial);
    for (int k = 0; k <= N; ++k) out.by_beta[k * block + i] = partial[k];
  } else {
    math::activation_derivatives<K, N, BranchFree>(t, beta, d);
  }
  for (int k = 0; k <= N; ++k) out.f[k * block + i] = d[k];
}

template <Kind K, int N, bool BranchFree, bool Partial, typename T>
void derivatives_loop(const T* y, const T* bias, const T* beta, int64_t count,
                      Derivatives<T>& out) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    derivatives_element<K, N, BranchFree, Partial>(y[i] + bias[i], beta[i], i, out);
  }
}

// sin is free of branches up to math::sincos_limit; a block past it takes the C library's.
template <typename T>
bool within_sincos_limit(const T* y, const T* bias, int64_t count) {
  int64_t outside = 0;
#pragma omp simd reduction(+ : outside)
  for (int64_t i = 0; i < count; ++i) {
    outside += !(math::absolute(y[i] + bias[i]) <= math::sincos_limit<T>());
  }
  return outside == 0;
}

template <typename T>
using DerivativesKernel = void (*)(const T* y, const T* bias, const T* beta, int64_t count,
                                   Derivatives<T>& out);

template <Kind K, int N, bool Partial, typename T>
void derivatives(const T* y, const T* bias, const T* beta, int64_t count, Derivatives<T>& out) {
  if (K == Kind::sin && !within_sincos_limit(y, bias, count)) {
    derivatives_loop<K, N, K != Kind::sin, Partial>(y, bias, beta, count, out);
  } else {
    derivatives_loop<K, N, true, Partial>(y, bias, beta, count, out);
  }
}

template <Kind K, bool Partial, typename T>
DerivativesKernel<T> derivatives_to(int degree) {
  constexpr DerivativesKernel<T> kernels[] = {
      derivatives<K, 0, Partial, T>, derivatives<K, 1, Partial, T>, derivatives<K, 2, Partial, T>,
      derivatives<K, 3, Partial, T>, derivatives<K, 4, Partial, T>};
  return kernels[degree];
}

template <typename T>
DerivativesKernel<T> derivatives_of(Kind kind, int degree, bool partial) {
  switch (kind) {
    case Kind::tanh:
      return derivatives_to<Kind::tanh, false, T>(degree);
    case Kind::sin:
      return derivatives_to<Kind::sin, false, T>(degree);
    case Kind::silu:
      return derivatives_to<Kind::silu, false, T>(degree);
    case Kind::gelu:
      return derivatives_to<Kind::gelu, false, T>(degree);
    case Kind::gelu_tanh:
      return derivatives_to<Kind::gelu_tanh, false, T>(degree);
    case Kind::sigmoid:
      return derivatives_to<Kind::sigmoid, false, T>(degree);
    case Kind::softplus:
      return derivatives_to<Kind::softplus, false, T>(degree);
    case Kind::identity:
      return derivatives_to<Kind::identity, false, T>(degree);
    case Kind::stan:
      return partial ? derivatives_to<Kind::stan, true, T>(degree)
                     : derivatives_to<Kind::stan, false, T>(degree);
  }
  return nullptr;
}

// ---- composition with the jet ----------------------------------------------------------------

// Where the components of a block lie; `count` is at least the lanes of a pack.
template <typename T>
struct Block {
  int64_t count;
  const Derivatives<T>* derivatives;
  const T* y[math::max_jet_size];  // y[0] is not read
  const T* g[math::max_jet_size];  // the gradient by h, or the direction
  T* out[math::max_jet_size];      // the gradient by y, or the tangent of h
  T* h[math::max_jet_size];
  T* by_beta;
};

// The start of the pack after the one at i. The last one ends with the block: it repeats some
// elements rather than leaving a rest.
template <typename T>
COLLOC_PACK int64_t next(int64_t i, int64_t count) {
  constexpr int64_t lanes = Pack<T>::lanes;
  i += lanes;
  return i < count && i + lanes > count ? count - lanes : i;
}

// Components First.. of the pack at i.
template <int First, int Last, typename T>
COLLOC_PACK void load_all(const T* const* from, int64_t i, Pack<T>* to) {
  math::unroll<First, Last>([&](auto c) COLLOC_INLINE_LAMBDA { to[c] = load(from[c] + i); });
}

template <int Size, typename T>
COLLOC_PACK void store_all(const Pack<T>* from, int64_t i, T* const* to) {
  math::unroll<0, Size>([&](auto c) COLLOC_INLINE_LAMBDA { store(to[c] + i, from[c]); });
}

template <int Size, typename T>
COLLOC_PACK void load_derivatives(const T* from, int64_t i, Pack<T>* to) {
  math::unroll<0, Size>([&](auto k) COLLOC_INLINE_LAMBDA { to[k] = load(from + k * block + i); });
}

template <JetOrder O, int n, typename T>
void compose(const Block<T>& b) {
  using Form = JetForm<O, n>;
  for (int64_t i = 0; i < b.count; i = next<T>(i, b.count)) {
    Pack<T> y[Form::size], f[Form::degree + 1], h[Form::size];
    load_all<1, Form::size>(b.y, i, y);
    load_derivatives<Form::degree + 1>(b.derivatives->f, i, f);
    math::jet_compose<O, n>(y, f, h);
    store_all<Form::size>(h, i, b.h);
  }
}

template <JetOrder O, int n, typename T>
void adjoint(const Block<T>& b) {
  using Form = JetForm<O, n>;
  for (int64_t i = 0; i < b.count; i = next<T>(i, b.count)) {
    Pack<T> y[Form::size], g[Form::size], f[Form::degree + 2], dy[Form::size], h[Form::size];
    load_all<1, Form::size>(b.y, i, y);
    load_all<0, Form::size>(b.g, i, g);
    load_derivatives<Form::degree + 2>(b.derivatives->f, i, f);
    math::jet_compose<O, n>(y, f, h);
    store_all<Form::size>(h, i, b.h);
    math::jet_compose_adjoint<O, n>(y, f, g, dy);
    store_all<Form::size>(dy, i, b.out);
  }
}

template <JetOrder O, int n, typename T>
void tangent(const Block<T>& b) {
  using Form = JetForm<O, n>;
  for (int64_t i = 0; i < b.count; i = next<T>(i, b.count)) {
    Pack<T> y[Form::size], v[Form::size], f[Form::degree + 2], dh[Form::size];
    y[0] = Pack<T>(T(0));
    load_all<1, Form::size>(b.y, i, y);
    load_all<0, Form::size>(b.g, i, v);
    load_derivatives<Form::degree + 2>(b.derivatives->f, i, f);
    math::jet_compose_tangent<O, n>(y, f, v, dh);
    store_all<Form::size>(dh, i, b.out);
  }
}

// The derivative of h by beta, itself a jet of the same form: its product with the gradient.
template <JetOrder O, int n, typename T>
void beta_adjoint(const Block<T>& b) {
  using Form = JetForm<O, n>;
  for (int64_t i = 0; i < b.count; i = next<T>(i, b.count)) {
    Pack<T> y[Form::size], g[Form::size], f[Form::degree + 1], h[Form::size];
    load_all<1, Form::size>(b.y, i, y);
    load_all<0, Form::size>(b.g, i, g);
    load_derivatives<Form::degree + 1>(b.derivatives->by_beta, i, f);
    math::jet_compose<O, n>(y, f, h);
    Pack<T> sum = g[0] * h[0];
    math::unroll<1, Form::size>([&](auto c) COLLOC_INLINE_LAMBDA { sum = sum + g[c] * h[c]; });
    store(b.by_beta + i, sum);
  }
}

enum class Work { compose, adjoint, tangent, beta_adjoint };

template <typename T>
using BlockKernel = void (*)(const Block<T>& b);

template <JetOrder O, int n, typename T>
BlockKernel<T> kernel_for(Work work) {
  switch (work) {
    case Work::compose:
      return compose<O, n, T>;
    case Work::adjoint:
      return adjoint<O, n, T>;
    case Work::tangent:
      return tangent<O, n, T>;
    case Work::beta_adjoint:
      return beta_adjoint<O, n, T>;
  }
  return nullptr;
}

template <JetOrder O, typename T>
BlockKernel<T> kernel_for(int n, Work work) {
  if constexpr (O != JetOrder::laplacian && O != JetOrder::grad_laplacian) {
    if (n == 1) return kernel_for<O, 1, T>(work);
  }
  if (n == 2) return kernel_for<O, 2, T>(work);
  return n == 3 ? kernel_for<O, 3, T>(work) : kernel_for<O, 4, T>(work);
}

template <typename T>
BlockKernel<T> kernel_for(const JetRows<T>& rows, Work work) {
  switch (math::canonical(rows.order, rows.n)) {
    case JetOrder::value:
      return kernel_for<JetOrder::value, 1, T>(work);
    case JetOrder::first:
      return kernel_for<JetOrder::first, T>(rows.n, work);
    case JetOrder::laplacian:
      return kernel_for<JetOrder::laplacian, T>(rows.n, work);
    case JetOrder::second:
      return kernel_for<JetOrder::second, T>(rows.n, work);
    case JetOrder::grad_laplacian:
      return kernel_for<JetOrder::grad_laplacian, T>(rows.n, work);
    case JetOrder::third:
      return kernel_for<JetOrder::third, T>(rows.n, work);
  }
  return nullptr;
}

// ---- the walk over the elements --------------------------------------------------------------

template <typename T>
constexpr T zeros[block] = {};

// Adds what a block gave, row by row of `width`, to the sums of its columns.
template <typename T>
void add(const T* values, int64_t count, T* sums) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) sums[i] += values[i];
}

// The components from neuron `from` of a point.
template <typename T>
void place(const JetRows<T>& rows, int size, int64_t point, int64_t from, T* unwanted,
           Block<T>& b) {
  const int64_t start = point * size * rows.width + from;
  for (int c = 0; c < size; ++c) {
    const int64_t at = start + c * rows.width;
    if (rows.columns == nullptr) {
      b.y[c] = rows.y + at;
    } else {
      b.y[c] = c >= 1 && c <= rows.n ? rows.columns + (c - 1) * rows.width + from : zeros<T>;
    }
    if (rows.g != nullptr) b.g[c] = rows.g + at;
    if (rows.out != nullptr) b.out[c] = rows.out + at;
    b.h[c] = rows.h == nullptr ? unwanted + c * block : rows.h + at;
  }
  if (rows.by_beta != nullptr) b.by_beta = rows.by_beta + point * rows.width + from;
}

// Room for a block that does not fill a pack.
template <typename T>
struct Narrow {
  static constexpr int64_t lanes = Pack<T>::lanes;
  T y[math::max_jet_size][lanes] = {}, g[math::max_jet_size][lanes] = {};
  T out[math::max_jet_size][lanes], h[math::max_jet_size][lanes], by_beta[lanes];

  Block<T> take(const Block<T>& b, int size) {
    Block<T> mine{};
    mine.count = lanes;
    mine.derivatives = b.derivatives;
    mine.by_beta = by_beta;
    for (int c = 0; c < size; ++c) {
      for (int64_t i = 0; i < b.count && c > 0; ++i) y[c][i] = b.y[c][i];
      for (int64_t i = 0; i < b.count && b.g[c] != nullptr; ++i) g[c][i] = b.g[c][i];
      mine.y[c] = y[c];
      mine.g[c] = g[c];
      mine.out[c] = out[c];
      mine.h[c] = h[c];
    }
    return mine;
  }

  void give(const Block<T>& b, int size) const {
    for (int64_t i = 0; i < b.count; ++i) {
      for (int c = 0; c < size; ++c) {
        if (b.out[c] != nullptr) b.out[c][i] = out[c][i];
        b.h[c][i] = h[c][i];
      }
      if (b.by_beta != nullptr) b.by_beta[i] = by_beta[i];
    }
  }
};

template <typename T>
void run(const JetRows<T>& rows, Work work) {
  const int size = math::jet_size(rows.order, rows.n);
  const int degree = math::jet_degree(rows.order) + (work == Work::compose ? 0 : 1);
  const bool with_beta = work == Work::adjoint && rows.by_beta != nullptr;
  const auto differentiate = derivatives_of<T>(rows.kind, degree, with_beta);
  const auto kernel = kernel_for<T>(rows, work);
  const auto beta_kernel = with_beta ? kernel_for<T>(rows, Work::beta_adjoint) : nullptr;
  Derivatives<T> found{};
  Narrow<T> narrow;
  alignas(64) T unwanted[math::max_jet_size * block];
  Block<T> b{};
  b.derivatives = &found;
  for (int64_t point = 0; point < rows.points; ++point) {
    for (int64_t from = 0; from < rows.width; from += block) {
      b.count = rows.width - from < block ? rows.width - from : block;
      const T* value = rows.y + point * (rows.columns == nullptr ? size : 1) * rows.width + from;
      differentiate(value, rows.bias == nullptr ? zeros<T> : rows.bias + from,
                    rows.beta == nullptr ? zeros<T> : rows.beta + from, b.count, found);
      place(rows, size, point, from, unwanted, b);
      const bool fills = b.count >= Pack<T>::lanes;
      const Block<T> taken = fills ? b : narrow.take(b, size);
      if (beta_kernel != nullptr) beta_kernel(taken);
      kernel(taken);
      if (!fills) narrow.give(b, size);
      if (rows.sums == nullptr) continue;
      add(b.out[0], b.count, rows.sums + from);
      for (int c = 1; c <= rows.n && c < size && rows.columns != nullptr; ++c) {
        add(b.out[c], b.count, rows.sums + c * rows.width + from);
      }
    }
  }
}

template <typename T>
constexpr JetKernels<T> jet_kernels = {[](const JetRows<T>& rows) { run(rows, Work::compose); },
                                       [](const JetRows<T>& rows) { run(rows, Work::adjoint); },
                                       [](const JetRows<T>& rows) { run(rows, Work::tangent); }};

}  // namespace
}  // namespace colloc::COLLOC_CAPABILITY
