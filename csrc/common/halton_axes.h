// The argument checks of op halton and its axes, shared by the CPU and the CUDA op.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/check.h"
#include "math/halton.h"

namespace colloc {

inline std::vector<uint64_t> first_primes(int64_t count) {
  std::vector<uint64_t> primes;
  primes.reserve(count);
  for (uint64_t candidate = 2; static_cast<int64_t>(primes.size()) < count; ++candidate) {
    bool prime = true;
    for (uint64_t p : primes) {
      if (p * p > candidate) break;
      if (candidate % p == 0) {
        prime = false;
        break;
      }
    }
    if (prime) primes.push_back(candidate);
  }
  return primes;
}

constexpr int64_t most_dimensions = 10000;

// Refuses what the sequence can't give: the last index times the largest prime must stay
// below 2^63, so that all digits fit an integer.
inline std::vector<math::HaltonAxis> halton_axes(int64_t n, int64_t dim, int64_t start,
                                                 int64_t leap, std::optional<int64_t> seed,
                                                 ScalarType dtype) {
  check_float("dtype", dtype);
  STD_TORCH_CHECK(n >= 0, "n: expected an integer >= 0, got ", n, ".");
  STD_TORCH_CHECK(dim >= 1 && dim <= most_dimensions, "dim: expected an integer from 1 to ",
                  most_dimensions, ", got ", dim, ".");
  STD_TORCH_CHECK(start >= 0, "start: expected an integer >= 0, got ", start, ".");
  STD_TORCH_CHECK(leap >= 1, "leap: expected an integer >= 1, got ", leap, ".");
  const std::vector<uint64_t> primes = first_primes(dim);
  const int64_t limit = INT64_MAX / static_cast<int64_t>(primes.back());
  const int64_t steps = n > 0 ? n - 1 : 0;
  STD_TORCH_CHECK(start <= limit && (steps == 0 || steps <= (limit - start) / leap),
                  "start: expected start + leap * (n - 1) <= ", limit, " for dim ", dim,
                  ", got start ", start, ", leap ", leap, ", n ", n, ".");
  const uint64_t last = static_cast<uint64_t>(start) + static_cast<uint64_t>(leap) * steps;
  std::vector<math::HaltonAxis> axes;
  axes.reserve(dim);
  for (int64_t d = 0; d < dim; ++d) {
    axes.push_back(math::halton_axis(primes[d], last, seed.has_value(),
                                     static_cast<uint64_t>(seed.value_or(0)), d));
  }
  return axes;
}

}  // namespace colloc
