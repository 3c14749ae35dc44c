#include "cpu/blas.h"

#include <dlfcn.h>

namespace colloc {
namespace {

// The Fortran interface: column-major, everything by address.
template <typename T>
using Gemm = void (*)(const char* transpose_a, const char* transpose_b, const int* m, const int* n,
                      const int* k, const T* alpha, const T* a, const int* lda, const T* b,
                      const int* ldb, const T* beta, T* c, const int* ldc);

struct Blas {
  Gemm<float> single = nullptr;
  Gemm<double> precise = nullptr;

  Blas() {
    // Loaded already: this library depends on it.
    void* torch = dlopen("libtorch_cpu.so", RTLD_LAZY | RTLD_NOLOAD);
    if (torch == nullptr) return;
    single = reinterpret_cast<Gemm<float>>(dlsym(torch, "sgemm_"));
    precise = reinterpret_cast<Gemm<double>>(dlsym(torch, "dgemm_"));
  }
};

const Blas& blas() {
  static const Blas found;
  return found;
}

template <typename T>
Gemm<T> gemm();
template <>
Gemm<float> gemm<float>() {
  return blas().single;
}
template <>
Gemm<double> gemm<double>() {
  return blas().precise;
}

// Row-major C = A B is column-major C^T = B^T A^T.
template <typename T>
void call(char transpose_a, char transpose_b, int64_t m, int64_t n, int64_t k, const T* a,
          int64_t lda, const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  const int rows = static_cast<int>(m), columns = static_cast<int>(n), inner = static_cast<int>(k);
  const int la = static_cast<int>(lda), lb = static_cast<int>(ldb), lc = static_cast<int>(ldc);
  const T one = T(1);
  gemm<T>()(&transpose_b, &transpose_a, &columns, &rows, &inner, &one, b, &lb, a, &la, &beta, c,
            &lc);
}

}  // namespace

bool has_blas() { return blas().single != nullptr && blas().precise != nullptr; }

template <typename T>
void product_transposed(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
                        T* c) {
  call('N', 'T', m, n, k, a, lda, b, k, T(0), c, n);
}

template <typename T>
void product(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b, T* c) {
  call('N', 'N', m, n, k, a, lda, b, n, T(0), c, n);
}

template <typename T>
void add_transposed_product(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
                            int64_t ldb, T* c) {
  call('T', 'N', m, n, k, a, lda, b, ldb, T(1), c, n);
}

#define COLLOC_PRODUCTS(T)                                                                         \
  template void product_transposed<T>(int64_t, int64_t, int64_t, const T*, int64_t, const T*, T*); \
  template void product<T>(int64_t, int64_t, int64_t, const T*, int64_t, const T*, T*);            \
  template void add_transposed_product<T>(int64_t, int64_t, int64_t, const T*, int64_t, const T*,  \
                                          int64_t, T*);
COLLOC_PRODUCTS(float)
COLLOC_PRODUCTS(double)

}  // namespace colloc
