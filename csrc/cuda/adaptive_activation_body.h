// The forward of the activation ops: the work of one thread, four neighbours of every so many rows.
#pragma once

#include "common/thread_index.h"
#include "math/activation.h"

namespace colloc {

// A slope or beta on the device: `count` values, repeated along x.
template <typename T>
struct Repeated {
  const T* values;
  int64_t count;  // 1, or the number of slopes

  // Those of `column` and the ones after it. No division for each.
  template <int Count>
  COLLOC_HD_MEMBER void load(int64_t column, T (&to)[Count]) const {
    int64_t at = count == 1 ? 0 : remainder(column, count);
#pragma unroll
    for (int k = 0; k < Count; ++k) {
      to[k] = values[at];
      if (++at >= count) at = 0;
    }
  }

  static COLLOC_HD_MEMBER int64_t remainder(int64_t a, int64_t b) {
    if (a <= 0x7fffffff && b <= 0x7fffffff) {
      return static_cast<uint32_t>(a) % static_cast<uint32_t>(b);
    }
    return a % b;
  }
};

// How x is walked: rows of `width` elements, a multiple of the number of slopes and of 4, so that a
// thread has the same slopes in all of its rows.
struct ActivationRows {
  static constexpr int together = 4;  // neighbours of a thread
  int64_t count, width, rows;

  ActivationRows(int64_t elements, int64_t slopes) : count(elements) {
    const int64_t least = slopes * (slopes % 4 == 0 ? 1 : (slopes % 2 == 0 ? 2 : 4));
    width = least * (least < 1024 ? 1024 / least : 1);
    rows = (count + width - 1) / width;
  }

  // The distance of a thread's rows where about `wanted` of them are walked at a time.
  int64_t apart(int64_t wanted) const {
    const int64_t most = rows < wanted ? rows : wanted;
    return most < 1 ? 1 : most;
  }
};

// `left` is how many elements there are from `from` on; behind them are zeros.
template <typename T>
COLLOC_HD void load_some(T (&to)[ActivationRows::together], const T* from, int64_t left,
                         bool aligned) {
  constexpr int together = ActivationRows::together;
  if (left >= together) return load_row(to, from, aligned);
#pragma unroll
  for (int k = 0; k < together; ++k) to[k] = k < left ? from[k] : T(0);
}

template <typename T>
COLLOC_HD void store_some(T* to, const T (&from)[ActivationRows::together], int64_t left,
                          bool aligned) {
  constexpr int together = ActivationRows::together;
  if (left >= together) return store_row(to, from, aligned);
#pragma unroll
  for (int k = 0; k < together; ++k) {
    if (k < left) to[k] = from[k];
  }
}

template <math::Kind K, int Order, typename T>
struct ActivationForwardBody {
  static constexpr int together = ActivationRows::together;

  const T* x;
  int64_t count, width, apart;
  Repeated<T> a, beta;
  T scale;
  T* y;
  bool aligned;

  ActivationForwardBody(const T* x, int64_t elements, const Repeated<T>& a, const Repeated<T>& beta,
                        T scale, T* y)
      : x(x), a(a), beta(beta), scale(scale), y(y) {
    const ActivationRows rows(elements,
                              K == math::Kind::stan && beta.count > a.count ? beta.count : a.count);
    count = rows.count;
    width = rows.width;
    apart = rows.apart(132 * 2048 * together / width);
    aligned = sixteen_aligned(x) && sixteen_aligned(y);
  }

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    const int64_t step = apart * width;
    for (int64_t item = thread.global * together; item < step; item += thread.total * together) {
      T slope[together], b[together] = {};
      a.load(item, slope);
      if constexpr (K == math::Kind::stan) beta.load(item, b);
#pragma unroll
      for (int k = 0; k < together; ++k) slope[k] *= scale;
      T next[together] = {};
      if (item < count) load_some(next, x + item, count - item, aligned);
      for (int64_t i = item; i < count; i += step) {
        T now[together], made[together];
#pragma unroll
        for (int k = 0; k < together; ++k) now[k] = next[k];
        // Before this one's arithmetic, which the load then does not wait for.
        if (i + step < count) load_some(next, x + i + step, count - i - step, aligned);
#pragma unroll
        for (int k = 0; k < together; ++k) {
          T d[Order + 1];
          math::activation_derivatives<K, Order>(slope[k] * now[k], b[k], d);
          made[k] = d[Order];
        }
        store_some(y + i, made, count - i, aligned);
      }
    }
  }

  Grid grid() const { return grid_for(apart * width / together, 132 * 32); }
};

// Calls run(std::integral_constant-like Kind K, Order N) for run-time kind and order.
template <int N>
struct OrderTag {
  static constexpr int value = N;
};
template <math::Kind K>
struct KindTag {
  static constexpr math::Kind value = K;
};

template <int Last, typename Kind, typename Run>
void with_order(Kind kind, int64_t order, const Run& run) {
  if (order == 0)
    run(kind, OrderTag<0>{});
  else if (order == 1)
    run(kind, OrderTag<1>{});
  else if (order == 2)
    run(kind, OrderTag<2>{});
  else if (order == 3)
    run(kind, OrderTag<3>{});
  else if constexpr (Last >= 4)
    run(kind, OrderTag<4>{});
}

template <int Last, typename Run>
void with_kind_and_order(math::Kind kind, int64_t order, const Run& run) {
  using math::Kind;
  switch (kind) {
    case Kind::tanh:
      return with_order<Last>(KindTag<Kind::tanh>{}, order, run);
    case Kind::sin:
      return with_order<Last>(KindTag<Kind::sin>{}, order, run);
    case Kind::silu:
      return with_order<Last>(KindTag<Kind::silu>{}, order, run);
    case Kind::gelu:
      return with_order<Last>(KindTag<Kind::gelu>{}, order, run);
    case Kind::gelu_tanh:
      return with_order<Last>(KindTag<Kind::gelu_tanh>{}, order, run);
    case Kind::sigmoid:
      return with_order<Last>(KindTag<Kind::sigmoid>{}, order, run);
    case Kind::softplus:
      return with_order<Last>(KindTag<Kind::softplus>{}, order, run);
    case Kind::identity:
      return with_order<Last>(KindTag<Kind::identity>{}, order, run);
    case Kind::stan:
      return with_order<Last>(KindTag<Kind::stan>{}, order, run);
  }
}

}  // namespace colloc
