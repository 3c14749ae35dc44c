// Op ntk_gram_block on the CPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <vector>

#include "common/activation_arguments.h"
#include "common/box.h"
#include "common/ntk_arguments.h"
#include "cpu/blas.h"
#include "cpu/select.h"

namespace colloc {
namespace {

constexpr int64_t tile_rows = 128;  // rows of jets: two products of 128 x 128 stay in the cache

template <typename T>
struct Side {
  const T* h;
  const T* zbar;
  NtkArguments shape;

  Side(const Tensor& inputs, const Tensor& gradients, const NtkArguments& a)
      : h(static_cast<const T*>(inputs.const_data_ptr())),
        zbar(static_cast<const T*>(gradients.const_data_ptr())),
        shape(a) {}
  const T* h_at(int64_t i) const { return h + i * shape.size * shape.in; }
  const T* zbar_at(int64_t i) const { return zbar + i * shape.size * shape.out; }
  int64_t tile() const {
    return std::max<int64_t>(1, tile_rows / std::max<int64_t>(1, shape.size));
  }
};

template <typename T>
void run_block(const NtkKernels<T>& kernels, const Side<T>& one, const Side<T>& other, T* out) {
  const int64_t n1 = one.shape.points, n2 = other.shape.points;
  const int64_t each1 = one.tile(), each2 = other.tile();
  const int64_t tiles = (n1 + each1 - 1) / each1;
  torch::stable::parallel_for(0, tiles, 1, [&](int64_t begin, int64_t end) {
    const int64_t most = each1 * one.shape.size * each2 * other.shape.size;
    std::vector<T> hh(most), zz(most);
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t i = tile * each1, count1 = std::min(each1, n1 - i);
      const int64_t rows1 = count1 * one.shape.size;
      for (int64_t j = 0; j < n2; j += each2) {
        const int64_t count2 = std::min(each2, n2 - j), rows2 = count2 * other.shape.size;
        product_transposed(rows1, rows2, one.shape.in, one.h_at(i), one.shape.in, other.h_at(j),
                           hh.data());
        product_transposed(rows1, rows2, one.shape.out, one.zbar_at(i), one.shape.out,
                           other.zbar_at(j), zz.data());
        kernels.reduce(hh.data(), zz.data(), count1, one.shape.size, count2, other.shape.size,
                       out + i * n2 + j, n2);
      }
    }
  });
}

Tensor ntk_gram_block(const Tensor& h1, const Tensor& zbar1, const Tensor& h2,
                      const Tensor& zbar2) {
  const NtkBlockArguments a = check_ntk_block(h1, zbar1, h2, zbar2);
  STD_TORCH_CHECK(has_blas(), "ntk_gram_block: torch's BLAS was not found in libtorch_cpu.so.");
  const Tensor inputs1 = torch::stable::contiguous(h1), inputs2 = torch::stable::contiguous(h2);
  const Tensor gradients1 = torch::stable::contiguous(zbar1);
  const Tensor gradients2 = torch::stable::contiguous(zbar2);
  const Tensor out = empty_of(h1, {a.first.points, a.second.points});
  if (out.numel() == 0) return out;
  if (a.first.size == 0 || a.second.size == 0 || a.first.in == 0 || a.first.out == 0) {
    torch::stable::zero_(const_cast<Tensor&>(out));
    return out;
  }
  if (h1.scalar_type() == ScalarType::Float) {
    run_block<float>(COLLOC_SELECT(ntk_float), {inputs1, gradients1, a.first},
                     {inputs2, gradients2, a.second}, static_cast<float*>(out.mutable_data_ptr()));
  } else {
    run_block<double>(COLLOC_SELECT(ntk_double), {inputs1, gradients1, a.first},
                      {inputs2, gradients2, a.second},
                      static_cast<double*>(out.mutable_data_ptr()));
  }
  return out;
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CPU, m) {
  m.impl("ntk_gram_block", COLLOC_BOX(&colloc::ntk_gram_block));
}
