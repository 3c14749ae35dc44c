// Numbers as pairs of halves with a common unit, see FusedUnit.
#pragma once

#include <cmath>

#include "cuda/mlp_jet_fused_layout.h"

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

// a b of a tile of 16 x 16 and of 16 x 8 each, with a and b as high and low parts.
template <bool Exact, typename Thread, int Tiles>
COLLOC_BLOCK void fused_product(const Thread& thread, const uint32_t (&high)[4],
                                const uint32_t (&low)[4], const uint32_t (&b)[Tiles][4],
                                float (&product)[Tiles][4]) {
  COLLOC_UNROLL
  for (int j = 0; j < Tiles; ++j) {
    thread.template mma<true>(product[j], Exact ? low : high, b[j][0], b[j][1]);
  }
  if constexpr (!Exact) return;
  COLLOC_UNROLL
  for (int j = 0; j < Tiles; ++j) thread.template mma<false>(product[j], high, b[j][2], b[j][3]);
  COLLOC_UNROLL
  for (int j = 0; j < Tiles; ++j) thread.template mma<false>(product[j], high, b[j][0], b[j][1]);
}

}  // namespace colloc
