#include "math/ntk.h"
#include "cpu/kernels/kernels.h"

namespace colloc::COLLOC_CAPABILITY {
namespace {

template <typename T>
T inner(const T* a, const T* b, int64_t count) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

template <typename T>
void trace(const T* h, const T* zbar, int64_t points, int64_t size, int64_t in, int64_t out,
           double* squares, double* firsts) {
  for (int64_t i = 0; i < points; ++i) {
    double sum = 0;
    for (int64_t k = 0; k < size; ++k) {
      sum += math::ntk_square_of_row(h + i * size * in, zbar + i * size * out, size, in, out, k,
                                     inner<T>);
    }
    squares[i] = sum;
    if (firsts != nullptr) {
      const T* z = zbar + i * size * out;
      firsts[i] = static_cast<double>(inner(z, z, out));
    }
  }
}

// sum_kl of the products of two matrices, (n1 size1, n2 size2) each, by blocks (size1, size2).
template <typename T>
void reduce(const T* hh, const T* zz, int64_t n1, int64_t size1, int64_t n2, int64_t size2, T* out,
            int64_t out_stride) {
  for (int64_t i = 0; i < n1; ++i) {
    for (int64_t j = 0; j < n2; ++j) {
      T sum = 0;
      for (int64_t k = 0; k < size1; ++k) {
        const int64_t at = (i * size1 + k) * n2 * size2 + j * size2;
        sum += inner(hh + at, zz + at, size2);
      }
      out[i * out_stride + j] = sum;
    }
  }
}

}  // namespace

extern const NtkKernels<float> ntk_float{trace<float>, reduce<float>};
extern const NtkKernels<double> ntk_double{trace<double>, reduce<double>};

}  // namespace colloc::COLLOC_CAPABILITY
