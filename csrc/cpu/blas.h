// Matrix products of small tiles by the BLAS that torch ships, called from inside a parallel
// region. Row-major; found at run time, since not every build of torch exports it.
#pragma once

#include <cstdint>

namespace colloc {

// Whether torch's BLAS was found; the products below need it.
bool has_blas();

// C (m, n) = A (m, k) B (n, k)^T; rows of A are lda apart.
template <typename T>
void product_transposed(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b, T* c);

// C (m, n) = A (m, k) B (k, n); rows of A are lda apart.
template <typename T>
void product(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b, T* c);

// C (m, n) += A (k, m)^T B (k, n); rows of A are lda apart, those of B ldb.
template <typename T>
void add_transposed_product(int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
                            int64_t ldb, T* c);

}  // namespace colloc
