// Op ntk_trace on the CPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "common/box.h"
#include "common/ntk_arguments.h"
#include "cpu/select.h"

namespace colloc {
namespace {

template <typename T>
void run(const NtkKernels<T>& kernels, const NtkArguments& a, const Tensor& h, const Tensor& zbar,
         const Tensor& squares) {
  const T* inputs = static_cast<const T*>(h.const_data_ptr());
  const T* gradients = static_cast<const T*>(zbar.const_data_ptr());
  double* result = static_cast<double*>(squares.mutable_data_ptr());
  const int64_t work = std::max<int64_t>(1, a.size * a.size * (a.in + a.out));
  const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 17) / work);
  torch::stable::parallel_for(0, a.points, grain, [&](int64_t begin, int64_t end) {
    kernels.trace(inputs + begin * a.size * a.in, gradients + begin * a.size * a.out, end - begin,
                  a.size, a.in, a.out, result + begin, nullptr);
  });
}

Tensor ntk_trace(const Tensor& h, const Tensor& zbar) {
  const NtkArguments a = check_ntk("h", h, "zbar", zbar);
  const Tensor inputs = torch::stable::contiguous(h), gradients = torch::stable::contiguous(zbar);
  const Tensor squares = torch::stable::new_empty(h, {a.points}, ScalarType::Double);
  if (a.points == 0) return squares;
  if (h.scalar_type() == ScalarType::Float) {
    run<float>(COLLOC_SELECT(ntk_float), a, inputs, gradients, squares);
  } else {
    run<double>(COLLOC_SELECT(ntk_double), a, inputs, gradients, squares);
  }
  return squares;
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CPU, m) { m.impl("ntk_trace", COLLOC_BOX(&colloc::ntk_trace)); }
