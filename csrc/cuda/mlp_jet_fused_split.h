// Numbers as pairs of halves with a common unit, see FusedUnit.
#pragma once

#include <cmath>
#include <type_traits>

#include "cuda/mlp_jet_fused_layout.h"
#include "math/unroll.h"

namespace colloc {

// x and y as unit (high + low), the two in one word.
template <typename Thread>
COLLOC_BLOCK void fused_split(const Thread& thread, float x, float y, const FusedUnit& unit,
                              uint32_t& high, uint32_t& low) {
  x *= unit.inverse, y *= unit.inverse;
  high = thread.to_halves(x, y);
  float a, b;
  thread.from_halves(high, a, b);
  low = thread.to_halves(x - a, y - b);
}

// The unit of numbers of which each lane has some, a nested array. What is not finite does not
// count, so that it does not take the others with it.
template <typename Thread, typename Part>
COLLOC_BLOCK FusedUnit fused_unit_of(const Thread& thread, const Part& part) {
  constexpr int count = sizeof(Part) / sizeof(float);
  const float* x = reinterpret_cast<const float*>(&part);
  float most = 0.0f;
  COLLOC_UNROLL
  for (int i = 0; i < count; ++i) most = std::fmax(most, std::fabs(x[i]));  // passes over NaN
  uint32_t bits = thread.reduce_max(math::bits_as<uint32_t>(most));
  if (bits >= 0x7f800000u) {
    most = 0.0f;
    COLLOC_UNROLL
    for (int i = 0; i < count; ++i) {
      const float size = std::fabs(x[i]);
      most = size <= 0x1.fffffep127f ? std::fmax(most, size) : most;
    }
    bits = thread.reduce_max(math::bits_as<uint32_t>(most));
  }
  return fused_unit(bits);
}

// A lane's accumulators of two neighbouring tiles of 8 columns, as they stand in an image's row:
// of its first point, r = 0, and its second one.
template <typename Thread>
COLLOC_BLOCK void fused_split_row(const Thread& thread, const float (&pair)[2][4], int r,
                                  const FusedUnit& unit, float (&high)[2], float (&low)[2]) {
  COLLOC_UNROLL
  for (int j = 0; j < 2; ++j) {
    uint32_t above, rest;
    fused_split(thread, pair[j][2 * r], pair[j][2 * r + 1], unit, above, rest);
    high[j] = math::bits_as<float>(above);
    low[j] = math::bits_as<float>(rest);
  }
}

// a b of tiles of 16 x 16 with tiles of 16 x 8 each, as high and low parts. The products of all
// take turns, since one waits for what it adds to.
template <bool Exact, typename Thread, int Rows, int Columns>
COLLOC_BLOCK void fused_product(const Thread& thread, const uint32_t (&high)[Rows][4],
                                const uint32_t (&low)[Rows][4], const uint32_t (&b)[Columns][4],
                                float (&product)[Rows][Columns][4]) {
  const auto all = [&](auto fresh, const auto& a, int part) COLLOC_INLINE_LAMBDA {
    COLLOC_UNROLL
    for (int i = 0; i < Rows; ++i) {
      COLLOC_UNROLL
      for (int j = 0; j < Columns; ++j) {
        thread.template mma<decltype(fresh){}>(product[i][j], a[i], b[j][part], b[j][part + 1]);
      }
    }
  };
  if constexpr (Exact) {
    all(std::true_type{}, low, 0);
    all(std::false_type{}, high, 2);
    all(std::false_type{}, high, 0);
  } else {
    all(std::true_type{}, high, 0);
  }
}

}  // namespace colloc
