// Squares of gradients by a dense layer's weight. Of one point the layer's inputs h (size, in) and
// the gradients by its outputs z (size, out) give the gradient sum_k z_k h_k^T, with
//   |sum_k z_k h_k^T|^2 = sum_kl <z_k, z_l> <h_k, h_l>,
// so that the gradient itself, (out, in), is never formed.
#pragma once

#include <cstdint>

#include "math/host_device.h"

namespace colloc::math {

// <a, b> in four sums, so that the additions need not wait for each other.
template <typename T>
COLLOC_HD T inner(const T* a, const T* b, int64_t count) {
  T s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    s0 += a[i] * b[i];
    s1 += a[i + 1] * b[i + 1];
    s2 += a[i + 2] * b[i + 2];
    s3 += a[i + 3] * b[i + 3];
  }
  for (; i < count; ++i) s0 += a[i] * b[i];
  return (s0 + s1) + (s2 + s3);
}

// The part of the square that row k has with the rows k, k + 1, ...; `product` is an inner one.
template <typename T, typename Product>
COLLOC_HD double ntk_square_of_row(const T* h, const T* z, int64_t size, int64_t in, int64_t out,
                                   int64_t k, const Product& product) {
  double sum = static_cast<double>(product(h + k * in, h + k * in, in)) *
               static_cast<double>(product(z + k * out, z + k * out, out));
  double others = 0;
  for (int64_t l = k + 1; l < size; ++l) {
    others += static_cast<double>(product(h + k * in, h + l * in, in)) *
              static_cast<double>(product(z + k * out, z + l * out, out));
  }
  return sum + 2 * others;
}

}  // namespace colloc::math
