// Ops signed_distance and signed_distance_slope on the CPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>

#include "common/box.h"
#include "common/signed_distance_arguments.h"
#include "cpu/select.h"

namespace colloc {
namespace {

template <typename T>
void run(SignedDistanceKernel<T> kernel, const SignedDistanceArguments& a, const Tensor& x,
         const Tensor& straight, const Tensor& circular, double size, const Tensor& out) {
  const SignedDistanceRows<T> rows{
      static_cast<const math::StraightPiece*>(straight.const_data_ptr()),
      static_cast<const math::CircularPiece*>(circular.const_data_ptr()),
      a.straight,
      a.circular,
      static_cast<T>(size),
      static_cast<const T*>(x.const_data_ptr()),
      static_cast<T*>(out.mutable_data_ptr())};
  const int64_t grain = std::max<int64_t>(512, 32768 / (a.straight + a.circular));
  torch::stable::parallel_for(0, a.points, grain,
                              [&](int64_t begin, int64_t end) { kernel(rows, begin, end); });
}

template <bool Slope>
Tensor evaluate(const Tensor& x, const Tensor& straight, const Tensor& circular, double size) {
  const SignedDistanceArguments a = check_signed_distance(x, straight, circular, size);
  const Tensor points = torch::stable::contiguous(x), lines = torch::stable::contiguous(straight),
               arcs = torch::stable::contiguous(circular);
  const Tensor out = empty_of(x, {a.points, Slope ? 2 : 1});
  if (a.points == 0) return out;
  if (x.scalar_type() == ScalarType::Float) {
    const auto& kernels = COLLOC_SELECT(signed_distance_float);
    run<float>(Slope ? kernels.slope : kernels.value, a, points, lines, arcs, size, out);
  } else {
    const auto& kernels = COLLOC_SELECT(signed_distance_double);
    run<double>(Slope ? kernels.slope : kernels.value, a, points, lines, arcs, size, out);
  }
  return out;
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CPU, m) {
  m.impl("signed_distance", COLLOC_BOX(&colloc::evaluate<false>));
  m.impl("signed_distance_slope", COLLOC_BOX(&colloc::evaluate<true>));
}
