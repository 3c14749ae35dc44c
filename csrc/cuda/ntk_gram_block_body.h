// The work of one thread of op ntk_gram_block: an entry of the block, from the products of all
// rows of the jets of two points.
#pragma once

#include "common/thread_index.h"

namespace colloc {

template <typename T>
struct NtkGramBody {
  int64_t n1, size1, n2, size2;
  const T* hh;  // (n1 size1, n2 size2)
  const T* zz;  // the same
  T* out;       // (n1, n2)

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t item = thread.global; item < n1 * n2; item += thread.total) {
      const int64_t i = item / n2, j = item - i * n2;
      T sum = 0;
      for (int64_t k = 0; k < size1; ++k) {
        const int64_t at = ((i * size1 + k) * n2 + j) * size2;
        for (int64_t l = 0; l < size2; ++l) sum += hh[at + l] * zz[at + l];
      }
      out[item] = sum;
    }
  }

  Grid grid() const { return grid_for(n1 * n2); }
};

}  // namespace colloc
