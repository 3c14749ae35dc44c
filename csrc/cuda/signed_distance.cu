// Ops signed_distance and signed_distance_slope on the GPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "common/box.h"
#include "common/launch.cuh"
#include "common/signed_distance_arguments.h"
#include "cuda/signed_distance_body.h"

namespace colloc {
namespace {

template <bool Slope, typename T>
void run(const SignedDistanceArguments& a, const Tensor& x, const Tensor& straight,
         const Tensor& circular, double size, const Tensor& out) {
  const SignedDistanceArrays<T> arrays{
      a.points,
      a.straight,
      a.circular,
      static_cast<const T*>(x.const_data_ptr()),
      static_cast<const math::StraightPiece*>(straight.const_data_ptr()),
      static_cast<const math::CircularPiece*>(circular.const_data_ptr()),
      static_cast<T>(size),
      static_cast<T*>(out.mutable_data_ptr())};
  const int64_t bytes = Slope ? 0 : signed_distance_memory(a.straight, a.circular);
  const Tensor memory = torch::stable::empty({bytes}, ScalarType::Byte, std::nullopt, x.device());
  const int32_t index = x.get_device_index();
  signed_distance_bodies<Slope>(arrays, memory.mutable_data_ptr(),
                                [&](const auto& body) { launch(body, body.grid(), index); });
}

template <bool Slope>
Tensor evaluate(const Tensor& x, const Tensor& straight, const Tensor& circular, double size) {
  const SignedDistanceArguments a = check_signed_distance(x, straight, circular, size);
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const Tensor points = torch::stable::contiguous(x), lines = torch::stable::contiguous(straight),
               arcs = torch::stable::contiguous(circular);
  const Tensor out = empty_of(x, {a.points, Slope ? 2 : 1});
  if (a.points == 0) return out;
  if (x.scalar_type() == ScalarType::Float) {
    run<Slope, float>(a, points, lines, arcs, size, out);
  } else {
    run<Slope, double>(a, points, lines, arcs, size, out);
  }
  return out;
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CUDA, m) {
  m.impl("signed_distance", COLLOC_BOX(&colloc::evaluate<false>));
  m.impl("signed_distance_slope", COLLOC_BOX(&colloc::evaluate<true>));
}
