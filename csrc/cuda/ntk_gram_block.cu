// Op ntk_gram_block on the GPU: torch's matrix products, some points at a time, and their sums.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "common/activation_arguments.h"
#include "common/box.h"
#include "common/launch.cuh"
#include "common/ntk_arguments.h"
#include "cuda/ntk_gram_block_body.h"

namespace colloc {
namespace {

constexpr int64_t most_values = int64_t{1} << 26;  // of a product

// Rows first .. first + count - 1 of points, as a matrix.
Tensor rows_of(const Tensor& jets, int64_t first, int64_t count) {
  Tensor all = jets;
  const Tensor part = torch::stable::narrow(all, 0, first, count);
  return torch::stable::reshape(part, {count * jets.size(1), jets.size(2)});
}

template <typename T>
void sums(const NtkBlockArguments& a, const Tensor& hh, const Tensor& zz, int64_t first,
          int64_t count, const Tensor& out) {
  const NtkGramBody<T> body{count,
                            a.first.size,
                            a.second.points,
                            a.second.size,
                            static_cast<const T*>(hh.const_data_ptr()),
                            static_cast<const T*>(zz.const_data_ptr()),
                            static_cast<T*>(out.mutable_data_ptr()) + first * a.second.points};
  launch(body, body.grid(), out.get_device_index());
}

Tensor ntk_gram_block(const Tensor& h1, const Tensor& zbar1, const Tensor& h2,
                      const Tensor& zbar2) {
  const NtkBlockArguments a = check_ntk_block(h1, zbar1, h2, zbar2);
  const torch::stable::accelerator::DeviceGuard guard(h1.get_device_index());
  Tensor out = empty_of(h1, {a.first.points, a.second.points});
  if (out.numel() == 0) return out;
  if (a.first.size == 0 || a.second.size == 0 || a.first.in == 0 || a.first.out == 0) {
    torch::stable::zero_(out);
    return out;
  }
  const int64_t others = a.second.points * a.second.size;
  const Tensor h_t = torch::stable::transpose(rows_of(h2, 0, a.second.points), 0, 1);
  const Tensor zbar_t = torch::stable::transpose(rows_of(zbar2, 0, a.second.points), 0, 1);
  const int64_t each = std::max<int64_t>(1, most_values / (a.first.size * others));
  for (int64_t i = 0; i < a.first.points; i += each) {
    const int64_t count = std::min(each, a.first.points - i);
    const Tensor hh = torch::stable::contiguous(torch::stable::matmul(rows_of(h1, i, count), h_t));
    const Tensor zz =
        torch::stable::contiguous(torch::stable::matmul(rows_of(zbar1, i, count), zbar_t));
    if (h1.scalar_type() == ScalarType::Float) {
      sums<float>(a, hh, zz, i, count, out);
    } else {
      sums<double>(a, hh, zz, i, count, out);
    }
  }
  return out;
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CUDA, m) {
  m.impl("ntk_gram_block", COLLOC_BOX(&colloc::ntk_gram_block));
}
