// Op ntk_trace: the work of one block. Some lanes of a warp share a point: each has a few columns
// of four rows of h and of zbar (and of four others) in registers, sums their products over its
// columns, and the lanes' sums are added in a fixed order.
#pragma once

#include "common/block_thread.h"
#include "common/thread_index.h"

namespace colloc {

template <typename T>
struct NtkTraceArrays {
  int64_t points, size, in, out;
  const T* h;       // (points, size, in)
  const T* zbar;    // (points, size, out)
  double* squares;  // (points)
};

template <typename Thread>
COLLOC_BLOCK float shuffled(const Thread& t, float x, int mask) {
  return t.shuffle_xor(x, mask);
}

template <typename Thread>
COLLOC_BLOCK double shuffled(const Thread& t, double x, int mask) {
  const uint64_t bits = math::bits_as<uint64_t>(x);
  const float high = t.shuffle_xor(math::bits_as<float>(static_cast<uint32_t>(bits >> 32)), mask);
  const float low = t.shuffle_xor(math::bits_as<float>(static_cast<uint32_t>(bits)), mask);
  return math::bits_as<double>((static_cast<uint64_t>(math::bits_as<uint32_t>(high)) << 32) |
                               math::bits_as<uint32_t>(low));
}

// Sums `Count` values over 2 Mask lanes, leaving each lane a part of them: it gives half of its
// values away and gets the other lane's for the half it keeps. Of `lane` the highest bit chooses
// the half first.
template <int Mask, int Count, typename Thread, typename T, int Size>
COLLOC_BLOCK void fold(const Thread& t, T (&values)[Size]) {
  const bool upper = (t.lane() & Mask) != 0;
  constexpr int half = Count > 1 ? Count / 2 : 1;
#pragma unroll
  for (int i = 0; i < half; ++i) {
    const T lower_one = values[i], upper_one = values[i + Count - half];
    const T given = upper ? lower_one : upper_one, kept = upper ? upper_one : lower_one;
    values[i] = kept + shuffled(t, given, Mask);
  }
  if constexpr (Mask > 1) fold<Mask / 2, half>(t, values);
}

// Aligned: rows are whole sixteens of bytes.
template <typename T, int Lanes, bool Aligned>
struct NtkTraceBody {
  static constexpr int threads = 256, least_blocks = 2;
  static constexpr int tile = 4, products = tile * tile;  // rows, and pairs of them
  static constexpr int columns = 16 / sizeof(T);          // of a lane
  static constexpr int together = warp_size / Lanes;      // points of a warp

  NtkTraceArrays<T> p;

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& t) const {
    constexpr int64_t warps = threads / warp_size;
    const int64_t step = t.blocks() * warps * together;
    for (int64_t first = (t.block() * warps + t.warp()) * together; first < p.points;
         first += step) {
      const int64_t point = first + t.lane() / Lanes;
      // Lanes without a point go along, with no rows.
      const int64_t rows = point < p.points ? p.size : 0;
      double sum = 0.0;
      for (int64_t k = 0; k < p.size; k += tile) {
        sum += block<true>(t, point, rows, k, k);
        for (int64_t l = k + tile; l < p.size; l += tile) sum += block<false>(t, point, rows, k, l);
      }
      double all[1] = {sum};
      fold<Lanes / 2, 1>(t, all);
      if (t.lane() % Lanes == 0 && rows > 0) p.squares[point] = all[0];
    }
  }

  // This lane's part of what rows k .. k + 3 have with rows l .. l + 3.
  template <bool Diagonal, typename Thread>
  COLLOC_BLOCK double block(const Thread& t, int64_t point, int64_t rows, int64_t k,
                            int64_t l) const {
    T by_h[products] = {}, by_z[products] = {};
    const T* h = p.h + point * p.size * p.in;
    const T* z = p.zbar + point * p.size * p.out;
    const int lane = t.lane() % Lanes;
    if constexpr (Diagonal) {
      // All loads of a lane at once.
      const int64_t widest = p.in > p.out ? p.in : p.out;
      for (int64_t at = lane * columns; at < widest; at += Lanes * columns) {
        T hk[tile][columns], zk[tile][columns];
        load(hk, h, p.in, rows, k, at);
        load(zk, z, p.out, rows, k, at);
        multiply<true>(hk, hk, by_h);
        multiply<true>(zk, zk, by_z);
      }
    } else {
      multiply_rows(h, p.in, rows, k, l, lane, by_h);
      multiply_rows(z, p.out, rows, k, l, lane, by_z);
    }
    fold<Lanes / 2, products>(t, by_h);
    fold<Lanes / 2, products>(t, by_z);
    // What is left to a lane: pair lane / (Lanes / 16), in every such lane; or several pairs.
    constexpr int left = products > Lanes ? products / Lanes : 1;
    constexpr int equal = Lanes > products ? Lanes / products : 1;
    double sum = 0.0;
#pragma unroll
    for (int i = 0; i < left; ++i) {
      const int pair = lane / equal * left + i;
      const bool twice = !Diagonal || pair / tile != pair % tile;
      const double product = static_cast<double>(by_h[i]) * static_cast<double>(by_z[i]);
      sum += twice ? 2.0 * product : product;
    }
    return lane % equal == 0 ? sum : 0.0;
  }

  static COLLOC_BLOCK void multiply_rows(const T* from, int64_t width, int64_t rows, int64_t k,
                                         int64_t l, int lane, T (&sums)[products]) {
    for (int64_t at = lane * columns; at < width; at += Lanes * columns) {
      T a[tile][columns], b[tile][columns];
      load(a, from, width, rows, k, at);
      load(b, from, width, rows, l, at);
      multiply<false>(a, b, sums);
    }
  }

  // Columns at .. at + columns - 1 of four rows; 0 where there are none.
  static COLLOC_BLOCK void load(T (&to)[tile][columns], const T* from, int64_t width, int64_t rows,
                                int64_t first, int64_t at) {
#pragma unroll
    for (int i = 0; i < tile; ++i) {
      const T* row = from + (first + i) * width + at;
      const int64_t left = first + i < rows ? width - at : 0;
#pragma unroll
      for (int c = 0; c < columns; ++c) to[i][c] = T(0);
      if constexpr (Aligned) {
        if (left > 0) load_row(to[i], row, true);
      } else {
#pragma unroll
        for (int c = 0; c < columns; ++c) {
          if (c < left) to[i][c] = row[c];
        }
      }
    }
  }

  template <bool Upper>
  static COLLOC_BLOCK void multiply(const T (&a)[tile][columns], const T (&b)[tile][columns],
                                    T (&sums)[products]) {
#pragma unroll
    for (int i = 0; i < tile; ++i) {
#pragma unroll
      for (int j = Upper ? i : 0; j < tile; ++j) {
#pragma unroll
        for (int c = 0; c < columns; ++c) sums[i * tile + j] += a[i][c] * b[j][c];
      }
    }
  }

  BlockGrid grid() const {
    constexpr int64_t each = threads / Lanes, most = 132 * 4;
    const int64_t wanted = (p.points + each - 1) / each;
    return {wanted < most ? wanted : most, 0};
  }
};

// Hands `run(body, grid)` the body, with as many lanes for a point as its rows are wide.
template <typename T, bool Aligned, typename Run>
void ntk_trace_body(const NtkTraceArrays<T>& arrays, const Run& run) {
  constexpr int64_t columns = 16 / sizeof(T);
  const int64_t widest = arrays.in > arrays.out ? arrays.in : arrays.out;
  const auto with = [&](const auto& body) { run(body, body.grid()); };
  if (widest <= 8 * columns) return with(NtkTraceBody<T, 8, Aligned>{arrays});
  if (widest <= 16 * columns) return with(NtkTraceBody<T, 16, Aligned>{arrays});
  with(NtkTraceBody<T, 32, Aligned>{arrays});
}

template <typename T, typename Run>
void ntk_trace_body(const NtkTraceArrays<T>& arrays, const Run& run) {
  constexpr int64_t columns = 16 / sizeof(T);
  const bool whole = arrays.in % columns == 0 && arrays.out % columns == 0;
  if (whole && sixteen_aligned(arrays.h) && sixteen_aligned(arrays.zbar)) {
    return ntk_trace_body<T, true>(arrays, run);
  }
  ntk_trace_body<T, false>(arrays, run);
}

}  // namespace colloc
