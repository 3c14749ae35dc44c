// The loops of ops signed_distance and signed_distance_slope.
#include "math/signed_distance.h"

#include "cpu/kernels/kernels.h"
#include "cpu/kernels/pack.h"

namespace colloc::COLLOC_CAPABILITY {
namespace {

// Points are taken in blocks, which stay in the first cache while all pieces pass.
constexpr int64_t block = 128;

template <typename T>
struct Points {
  alignas(64) T x[block], y[block];
  alignas(64) T distance[block];  // to the nearest piece so far
  alignas(64) T offset[block];    // from that, NaN where the foot is not within
  alignas(64) T piece[block];     // its number
  // In double, whatever T is.
  alignas(64) double wide_x[block], wide_y[block], turns[block];
};

// Pieces come by value: what is stored could change another one, and its constants would be read
// anew.
template <bool Numbered, typename Form, typename T>
void look_at(const Form piece, int64_t number, Points<T>& points) {
  const Pack<T> id = static_cast<T>(number), none = static_cast<T>(NAN);
  for (int64_t i = 0; i < block; i += Pack<T>::lanes) {
    const auto at = math::foot(piece, load(points.x + i), load(points.y + i));
    const Pack<T> before = load(points.distance + i);
    const auto farther = at.distance >= before;  // not so for NaN
    const Pack<T> offset = select(at.within, at.offset, none);
    store(points.distance + i, select(farther, before, at.distance));
    store(points.offset + i, select(farther, load(points.offset + i), offset));
    if constexpr (Numbered) {
      store(points.piece + i, select(farther, load(points.piece + i), id));
    }
  }
}

template <typename Form, typename T>
void turn_around(const Form piece, Points<T>& points) {
  for (int64_t i = 0; i < block; i += Pack<double>::lanes) {
    const Pack<double> more = math::turns(piece, load(points.wide_x + i), load(points.wide_y + i));
    store(points.turns + i, load(points.turns + i) + more);
  }
}

// The last point fills up the block.
template <typename T>
void load_block(const T* x, int64_t count, Points<T>& points) {
  for (int64_t i = 0; i < count; ++i) {
    points.x[i] = x[2 * i];
    points.y[i] = x[2 * i + 1];
  }
  for (int64_t i = count; i < block; ++i) {
    points.x[i] = points.x[count - 1];
    points.y[i] = points.y[count - 1];
  }
  for (int64_t i = 0; i < block; ++i) {
    points.wide_x[i] = points.x[i];
    points.wide_y[i] = points.y[i];
    points.turns[i] = 0;
    points.distance[i] = static_cast<T>(INFINITY);
    points.offset[i] = static_cast<T>(NAN);
    points.piece[i] = T(0);
  }
}

template <bool Slope, typename T>
void signed_distance(const SignedDistanceRows<T>& rows, int64_t begin, int64_t end) {
  Points<T> points;
  for (int64_t first = begin; first < end; first += block) {
    const int64_t count = end - first < block ? end - first : block;
    load_block(rows.x + 2 * first, count, points);
    for (int64_t k = 0; k < rows.straight_count; ++k) {
      look_at<Slope>(rows.straight[k], k, points);
      turn_around(rows.straight[k], points);
    }
    for (int64_t k = 0; k < rows.circular_count; ++k) {
      look_at<Slope>(rows.circular[k], rows.straight_count + k, points);
      turn_around(rows.circular[k], points);
    }
    for (int64_t i = 0; i < count; ++i) {
      const T x = points.x[i], y = points.y[i], distance = points.distance[i];
      const bool inside = points.turns[i] > 0.5;
      if constexpr (Slope) {
        const int64_t nearest = static_cast<int64_t>(points.piece[i]);
        const auto found = nearest < rows.straight_count
                               ? math::slope(rows.straight[nearest], x, y, rows.size, inside)
                               : math::slope(rows.circular[nearest - rows.straight_count], x, y,
                                             rows.size, inside);
        rows.out[2 * (first + i)] = found.x;
        rows.out[2 * (first + i) + 1] = found.y;
      } else {
        const T offset = points.offset[i], sided = inside ? distance : -distance;
        const bool close = math::absolute(offset) <= math::on_piece(x, y, rows.size);
        rows.out[first + i] = close ? offset : sided;
      }
    }
  }
}

template <typename T>
constexpr SignedDistanceKernels<T> kernels{signed_distance<false, T>, signed_distance<true, T>};

}  // namespace

const SignedDistanceKernels<float> signed_distance_float = kernels<float>;
const SignedDistanceKernels<double> signed_distance_double = kernels<double>;

}  // namespace colloc::COLLOC_CAPABILITY
