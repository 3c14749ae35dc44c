// The loops of op distance, for one dtype a file.
#pragma once

#include "cpu/kernels/distance_far.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/pack.h"
#include "math/distance.h"
#include "math/equivalence.h"

namespace colloc::COLLOC_CAPABILITY {
namespace {

using math::Place;

// Points are taken in blocks, so that the jets of all pieces at a block stay in the cache.
constexpr int64_t block = distance_block;

// A block of points; `on` holds the numbers of pieces.
template <typename T>
struct Points {
  alignas(64) T x[block], y[block], noise[block], on[block];
};

template <int Size, typename T>
COLLOC_PACK void load_jet(const T* from, Pack<T>* to) {
  math::unroll<0, Size>([&](auto c) COLLOC_INLINE_LAMBDA { to[c] = load(from + c * block); });
}

template <int Size, typename T>
COLLOC_PACK void store_jet(const Pack<T>* from, T* to) {
  math::unroll<0, Size>([&](auto c) COLLOC_INLINE_LAMBDA { store(to + c * block, from[c]); });
}

// The smallest and the second smallest value so far, and whose the smallest is.
template <typename T>
struct Nearest {
  alignas(64) T value[block], second[block], piece[block];
};

template <typename T>
COLLOC_PACK void look_for_nearest(Pack<T> value, Pack<T> piece, int64_t i, Nearest<T>& nearest) {
  const Pack<T> before = load(nearest.value + i);
  const auto nearer = value < before;
  const Pack<T> farther = select(nearer, before, value);
  store(nearest.second + i, math::smaller(farther, load(nearest.second + i)));
  store(nearest.piece + i, select(nearer, piece, load(nearest.piece + i)));
  store(nearest.value + i, select(nearer, value, before));
}

// The jets of piece k at a block. Known: some points are known to lie on pieces. The piece comes
// by value: what is stored could change another one, and its constants would be read anew.
template <JetOrder O, typename Form, bool Known, typename S, typename T>
void piece_jets(const Piece piece, int64_t k, const Points<T>& points, T curving, T* jets,
                Nearest<T>& nearest) {
  constexpr int size = JetForm<O, 2>::size;
  const Pack<T> id = static_cast<T>(k), never = T(-1);
  for (int64_t i = 0; i < block; i += Pack<T>::lanes) {
    const auto at = math::offsets<Form>(piece, load(points.x + i), load(points.y + i));
    const auto on = (Known ? load(points.on + i) : never) == id;
    const auto place = math::place<Form, S>(piece, at, load(points.noise + i), on);
    Pack<T> jet[size];
    math::piece_jet<O, Form>(piece, place, Pack<T>(curving), jet);
    store_jet<size>(jet, jets + i);
    look_for_nearest(jet[0], id, i, nearest);
  }
}

// R-equivalence of the pieces' jets `all` at the lanes from i on.
template <JetOrder O, typename T, typename Power>
void join(const T* all, int64_t pieces, Power m, int64_t i, const Nearest<T>& nearest, T* jets) {
  constexpr int size = JetForm<O, 2>::size;
  const Pack<T> second = load(nearest.second + i), index = load(nearest.piece + i);
  Pack<T> near[size], others[size];
  math::unroll<0, size>([&](auto c) COLLOC_INLINE_LAMBDA { near[c] = others[c] = Pack<T>(T(0)); });
  for (int64_t k = 0; k < pieces; ++k) {
    Pack<T> jet[size];
    load_jet<size>(all + k * size * block + i, jet);
    const auto is_nearest = index == Pack<T>(static_cast<T>(k));
    math::unroll<0, size>(
        [&](auto c) COLLOC_INLINE_LAMBDA { near[c] = select(is_nearest, jet[c], near[c]); });
    math::add_reciprocal_power<O, 2>(jet, second, m, is_nearest, others);
  }
  Pack<T> phi[size];
  math::equivalence<O, 2>(near, others, second, m, phi);
  store_jet<size>(phi, jets + i);
}

// Several pieces are 0 at point i.
template <JetOrder O, typename T>
void at_joint(const T* all, int64_t pieces, int m, int64_t i, T* jets) {
  constexpr int size = JetForm<O, 2>::size;
  T sum[size] = {}, count = T(0);
  for (int64_t k = 0; k < pieces; ++k) {
    const T* jet = all + k * size * block + i;
    if (jet[0] != T(0)) continue;
    count += T(1);
    for (int c = 0; c < size; ++c) sum[c] += jet[c * block];
  }
  const T share = math::joint_share(count, m);
  for (int c = 0; c < size; ++c) jets[c * block + i] = share * sum[c];
}

template <JetOrder O, typename T, typename Power>
void join_block(const T* all, int64_t pieces, Power m, const Nearest<T>& nearest, T* jets) {
  for (int64_t i = 0; i < block; i += Pack<T>::lanes) join<O>(all, pieces, m, i, nearest, jets);
  T least = nearest.second[0];
#pragma omp simd reduction(min : least)
  for (int64_t i = 0; i < block; ++i) least = nearest.second[i] < least ? nearest.second[i] : least;
  if (least > T(0)) return;
  for (int64_t i = 0; i < block; ++i) {
    if (nearest.second[i] == T(0)) at_joint<O>(all, pieces, m, i, jets);
  }
}

template <JetOrder O, typename S, typename T>
void block_jets(const DistanceRows<S>& rows, const Points<T>& points, T* all, T* jets) {
  constexpr int size = JetForm<O, 2>::size;
  Nearest<T> nearest;
  const bool single = rows.count == 1;
  for (int64_t i = 0; i < block; ++i) {
    nearest.value[i] = nearest.second[i] = math::largest<T>;
    nearest.piece[i] = T(0);
  }
  const T curving = static_cast<T>(rows.curving);
  for (int64_t k = 0; k < rows.count; ++k) {
    const Piece& piece = rows.pieces[k];
    T* own = single ? jets : all + k * size * block;
    math::with_form(piece, [&](auto form) {
      using Form = decltype(form);
      if (rows.on == nullptr) {
        piece_jets<O, Form, false, S>(piece, k, points, curving, own, nearest);
      } else {
        piece_jets<O, Form, true, S>(piece, k, points, curving, own, nearest);
      }
    });
  }
  if (single) return;
  if (rows.m == 1) return join_block<O>(all, rows.count, math::Index<1>{}, nearest, jets);
  if (rows.m == 2) return join_block<O>(all, rows.count, math::Index<2>{}, nearest, jets);
  join_block<O>(all, rows.count, rows.m, nearest, jets);
}

// The points numbered first + i, or those in `numbers`; the last one fills up the block.
template <typename S, typename T>
void load_block(const DistanceRows<S>& rows, int64_t first, const int64_t* numbers, int64_t count,
                Points<T>& points) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t row = numbers == nullptr ? first + i : numbers[i];
    points.x[i] = static_cast<T>(rows.x[2 * row]);
    points.y[i] = static_cast<T>(rows.x[2 * row + 1]);
  }
  for (int64_t i = 0; i < count && rows.on != nullptr; ++i) {
    points.on[i] = static_cast<T>(rows.on[numbers == nullptr ? first + i : numbers[i]]);
  }
  for (int64_t i = count; i < block; ++i) {
    points.x[i] = points.x[count - 1];
    points.y[i] = points.y[count - 1];
    points.on[i] = points.on[count - 1];
  }
  for (int64_t i = 0; i < block; i += Pack<T>::lanes) {
    const auto at = math::point_at<S>(load(points.x + i), load(points.y + i));
    store(points.x + i, at.x);
    store(points.y + i, at.y);
    store(points.noise + i, at.noise);
  }
}

template <int size, typename S, typename T>
void store_block(const T* jets, int64_t first, int64_t count, const DistanceRows<S>& rows) {
  for (int c = 0; c < size; ++c) {
    S* out = rows.out + c * rows.points + first;
    const T* from = jets + c * block;
    if constexpr (sizeof(S) == sizeof(T)) {
      if (count == block) {
        for (int64_t i = 0; i < block; i += Pack<T>::lanes) store(out + i, load(from + i));
        continue;
      }
    }
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<S>(from[i]);
  }
}

// S: dtype of points and jets, T: that of the arithmetic. Points near a piece wait until a block
// is full.
template <JetOrder O, typename T, typename S>
void distance_of(const DistanceRows<S>& rows, int64_t begin, int64_t end, void* memory) {
  constexpr int size = JetForm<O, 2>::size;
  Points<T> points;
  alignas(64) T jets[size * block], near[block];
  T* all = static_cast<T*>(memory);
  FarPieces<T> far;
  bool plain = false;
  if constexpr (JetForm<O, 2>::degree <= 2) {
    plain =
        rows.on == nullptr && rows.count > 1 && rows.m <= 2 &&
        far_pieces<S>(rows.pieces, rows.count, rows.curving,
                      reinterpret_cast<math::FarPiece<T>*>(all + rows.count * size * block), far);
  }
  int64_t waiting = 0, numbers[2 * block];
  for (int64_t i = 0; i < block; ++i) points.on[i] = T(-1);
  const auto exact = [&] {
    const int64_t count = waiting < block ? waiting : block;
    load_block(rows, 0, numbers, count, points);
    block_jets<O>(rows, points, all, jets);
    for (int64_t i = 0; i < count; ++i) {
      for (int c = 0; c < size; ++c) {
        rows.out[c * rows.points + numbers[i]] = static_cast<S>(jets[c * block + i]);
      }
    }
    waiting -= count;
    for (int64_t i = 0; i < waiting; ++i) numbers[i] = numbers[i + block];
  };
  for (int64_t first = begin; first < end; first += block) {
    const int64_t count = end - first < block ? end - first : block;
    load_block(rows, first, nullptr, count, points);
    if (plain) {
      if constexpr (JetForm<O, 2>::degree <= 2) {
        if (rows.m == 1) far_block<O, 1, S>(far, points.x, points.y, jets, near);
        if (rows.m == 2) far_block<O, 2, S>(far, points.x, points.y, jets, near);
        constexpr T least = T(FarLimits<S, T>::least * FarLimits<S, T>::least);
        for (int64_t i = 0; i < count; i += Pack<T>::lanes) {
          if (!any(!(load(near + i) > Pack<T>(least)))) continue;
          const int64_t stop = i + Pack<T>::lanes < count ? i + Pack<T>::lanes : count;
          for (int64_t j = i; j < stop; ++j) {
            numbers[waiting] = first + j;
            waiting += !(near[j] > least);
          }
        }
      }
    } else {
      block_jets<O>(rows, points, all, jets);
    }
    store_block<size>(jets, first, count, rows);
    if (waiting >= block) exact();
  }
  if (waiting > 0) exact();
}

// Hessians lose too much in single precision: from order 2 on the arithmetic is in double.
template <typename S>
void distance(const DistanceRows<S>& rows, int64_t begin, int64_t end, void* memory) {
  switch (rows.order) {
    case JetOrder::value:
      return distance_of<JetOrder::value, S>(rows, begin, end, memory);
    case JetOrder::first:
      return distance_of<JetOrder::first, S>(rows, begin, end, memory);
    case JetOrder::laplacian:
      return distance_of<JetOrder::laplacian, S>(rows, begin, end, memory);
    case JetOrder::second:
      return distance_of<JetOrder::second, double>(rows, begin, end, memory);
    case JetOrder::grad_laplacian:
      return distance_of<JetOrder::grad_laplacian, double>(rows, begin, end, memory);
    case JetOrder::third:
      return distance_of<JetOrder::third, double>(rows, begin, end, memory);
  }
}

}  // namespace
}  // namespace colloc::COLLOC_CAPABILITY
