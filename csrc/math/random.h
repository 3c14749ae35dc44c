// Random numbers by counters: number i of a key is a function of both, so that any number of
// threads, on the CPU and on the GPU, draws the same ones in any order.
#pragma once

#include <cmath>
#include <cstdint>

#include "math/elementary.h"
#include "math/host_device.h"

namespace colloc::math {

// splitmix64 (Steele, Lea and Flood 2014): a bijective mix of 64 bits.
COLLOC_HD uint64_t mix_bits(uint64_t z) {
  z += 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

// The key of one of several independent sequences of a seed.
COLLOC_HD uint64_t random_key(uint64_t seed, uint64_t sequence) {
  return mix_bits(mix_bits(seed) + sequence);
}

// Number `counter` of the splitmix64 generator that starts at the key.
COLLOC_HD uint64_t random_bits(uint64_t key, uint64_t counter) {
  return mix_bits(key + counter * 0x9e3779b97f4a7c15ull);
}

// Uniform in (0, 1): one of the 2^52 odd multiples of 2^-53, neither 0 nor 1.
COLLOC_HD double random_unit(uint64_t key, uint64_t counter) {
  const uint64_t mantissa = random_bits(key, counter) >> 12;
  return bits_as<double>(mantissa | 0x3ff0000000000000ull) - (1.0 - 1.1102230246251565e-16);
}

// Exponential of mean 1.
COLLOC_HD double random_exponential(uint64_t key, uint64_t counter) {
  return -log_normal(random_unit(key, counter));
}

// Gamma of a shape >= 1 and scale 1, by Marsaglia and Tsang's rejection (ACM Transactions on
// Mathematical Software 26, 2000), which accepts 95 % or more.
COLLOC_HD double random_gamma(double shape, uint64_t key, uint64_t counter) {
  constexpr int attempts = 21;  // all fail once in 1e27
  const double d = shape - 1.0 / 3.0;
  const double c = 1.0 / (3.0 * std::sqrt(d));
  double value = d;
  for (int i = 0; i < attempts; ++i) {
    const uint64_t at = counter * (3 * attempts) + 3 * static_cast<uint64_t>(i);
    const double radius = std::sqrt(2.0 * random_exponential(key, at));
    const double normal = radius * sin_bounded(6.283185307179586 * random_unit(key, at + 1), 0);
    const double root = 1.0 + c * normal;
    if (root <= 0.0) continue;
    const double v = root * root * root;
    const double bound = 0.5 * normal * normal + d - d * v + d * log_positive(v);
    value = d * v;
    if (-random_exponential(key, at + 2) < bound) break;
  }
  return value;
}

}  // namespace colloc::math
