// Halton's sequence (Halton 1960): coordinate j of point i is the radical inverse of i in the
// j-th prime b, sum_k digit_k b^-(k+1). The digits are reversed in integers and divided once, so
// that the result is the correctly rounded quotient, and the same bits on every machine.
#pragma once

#include <cmath>
#include <cstdint>

#include "math/host_device.h"
#include "math/random.h"

namespace colloc::math {

struct HaltonAxis {
  uint64_t base;         // the prime
  uint64_t denominator;  // base^digits
  uint64_t key;          // of this axis' digit scrambling; unused unless scrambled
  int32_t digits;        // how many digits are reversed
  int32_t scrambled;
};

constexpr uint64_t exact_in_double = uint64_t(1) << 53;

// Without scrambling, digits past the last index are 0 and need no reversal. With it every
// digit is mapped, so as many are kept as the quotient can show (base^digits < 2^53).
COLLOC_HD HaltonAxis halton_axis(uint64_t base, uint64_t last_index, int scrambled, uint64_t seed,
                                 int64_t dimension) {
  HaltonAxis axis{base, base, 0, 1, scrambled};
  while (axis.denominator <= last_index ||
         (scrambled && axis.denominator < exact_in_double / base)) {
    axis.denominator *= base;
    ++axis.digits;
  }
  axis.key = mix_bits(mix_bits(seed) + static_cast<uint64_t>(dimension));
  return axis;
}

// Random linear digit scrambling (Matousek 1998): d -> (h d + g) mod b, h != 0, a permutation of
// the digits drawn anew for every axis and position.
struct DigitMap {
  uint64_t h, g;
};

COLLOC_HD DigitMap digit_map(const HaltonAxis& axis, int position) {
  const uint64_t at = axis.key + 2 * static_cast<uint64_t>(position);
  return {1 + mix_bits(at) % (axis.base - 1), mix_bits(at + 1) % axis.base};
}

COLLOC_HD uint64_t scrambled_digit(const HaltonAxis& axis, uint64_t digit, int position) {
  const DigitMap map = digit_map(axis, position);
  return (map.h * digit + map.g) % axis.base;
}

// What stands for a digit of the index in the reversal.
COLLOC_HD uint64_t digit_of(const HaltonAxis& axis, uint64_t digit, int position) {
  return axis.scrambled ? scrambled_digit(axis, digit, position) : digit;
}

// The digits first..last-1 of index (counted from the lowest), reversed into one integer.
COLLOC_HD uint64_t reversed_digits(const HaltonAxis& axis, uint64_t index, int first, int last) {
  uint64_t reversed = 0;
  for (int position = first; position < last; ++position) {
    const uint64_t rest = index / axis.base;
    const uint64_t digit = index - rest * axis.base;
    reversed = reversed * axis.base + digit_of(axis, digit, position);
    index = rest;
  }
  return reversed;
}

// numerator / denominator < 1, one rounding. Past 2^53 the quotient is first taken to 64 bits.
COLLOC_HD double halton_quotient(uint64_t numerator, uint64_t denominator) {
  if (denominator <= exact_in_double) {
    return static_cast<double>(numerator) / static_cast<double>(denominator);
  }
  uint64_t quotient = 0, remainder = numerator;
  for (int bit = 0; bit < 64; ++bit) {
    remainder <<= 1;  // denominator < 2^63, so this never overflows
    quotient <<= 1;
    if (remainder >= denominator) {
      remainder -= denominator;
      quotient |= 1;
    }
  }
  const double value = static_cast<double>(quotient) * 5.42101086242752217e-20;  // 2^-64
  const double below_one = 1.0 - 1.11022302462515654e-16;
  return value < below_one ? value : below_one;
}

// The same bits for integers numerator < denominator <= 2^53, without a division: inverse is 1 /
// denominator, rounded. The first correction brings the quotient within one unit in its last place,
// from where the second gives the rounded one (Markstein, IBM Journal of Research and Development
// 34, 1990).
COLLOC_HD double halton_quotient_by(double numerator, double denominator, double inverse) {
  double quotient = numerator * inverse;
  quotient = std::fma(std::fma(-quotient, denominator, numerator), inverse, quotient);
  return std::fma(std::fma(-quotient, denominator, numerator), inverse, quotient);
}

COLLOC_HD double as_coordinate(double value, double) { return value; }

// Rounding to float32 must not reach 1.
COLLOC_HD float as_coordinate(double value, float) {
  const float rounded = static_cast<float>(value);
  return rounded < 1.0f ? rounded : 0.999999940395355224609375f;
}

template <typename T>
COLLOC_HD T halton_coordinate(const HaltonAxis& axis, uint64_t index) {
  const uint64_t reversed = reversed_digits(axis, index, 0, axis.digits);
  return as_coordinate(halton_quotient(reversed, axis.denominator), T(0));
}

}  // namespace colloc::math
