// Division by an integer that is known before: multiplication by its inverse.
#pragma once

#include <cstdint>

#include "math/host_device.h"

namespace colloc::math {

COLLOC_HD uint32_t high_product(uint32_t a, uint32_t b) {
#if defined(__CUDA_ARCH__)
  return __umulhi(a, b);
#else
  return static_cast<uint32_t>((static_cast<uint64_t>(a) * b) >> 32);
#endif
}

COLLOC_HD uint64_t high_product(uint64_t a, uint64_t b) {
#if defined(__CUDA_ARCH__)
  return __umul64hi(a, b);
#else
  return static_cast<uint64_t>((static_cast<unsigned __int128>(a) * b) >> 64);
#endif
}

template <typename Word>
struct Division {
  Word quotient, remainder;
};

// inverse = (2^bits - e) / value with 0 < e <= value: n inverse / 2^bits falls short of n / value
// by less than 1.
template <typename Word>
struct Divisor {
  Word value, inverse;

  COLLOC_HD_MEMBER Division<Word> divide(Word n) const {
    Word quotient = high_product(n, inverse);
    Word remainder = n - quotient * value;
    if (remainder >= value) {
      remainder -= value;
      ++quotient;
    }
    return {quotient, remainder};
  }
};

template <typename Word>
COLLOC_HD Divisor<Word> divisor_of(Word value) {
  return {value, static_cast<Word>(~Word(0)) / value};
}

// For n value < 2^32: inverse = ceil(2^32 / value) gives the quotient at once.
struct SmallDivisor {
  uint32_t value, inverse;

  COLLOC_HD_MEMBER uint32_t quotient(uint32_t n) const { return high_product(n, inverse); }
  COLLOC_HD_MEMBER uint32_t remainder(uint32_t n) const { return n - quotient(n) * value; }
};

// value >= 2
COLLOC_HD SmallDivisor small_divisor_of(uint32_t value) { return {value, 0xffffffffu / value + 1}; }

}  // namespace colloc::math
