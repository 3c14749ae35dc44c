// Op distance on the GPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "common/box.h"
#include "common/distance_arguments.h"
#include "common/launch.cuh"
#include "common/optional_tensor.h"
#include "cuda/distance_body.h"

namespace colloc {
namespace {

template <typename T>
void run(const DistanceArguments& a, const Tensor& x, const Tensor& pieces, const Optional& on,
         int64_t m, double length, const Tensor& out) {
  const DistanceArrays<T> arrays{a.points,
                                 a.count,
                                 static_cast<const T*>(x.const_data_ptr()),
                                 static_cast<const math::Piece*>(pieces.const_data_ptr()),
                                 data<int64_t>(on),
                                 static_cast<int>(m),
                                 static_cast<T>(1.0 / (length * length)),
                                 static_cast<T*>(out.mutable_data_ptr())};
  const int32_t index = x.get_device_index();
  const Tensor memory =
      torch::stable::empty({distance_memory(a.count)}, ScalarType::Byte, std::nullopt, x.device());
  distance_bodies(a.order, arrays, 1.0 / (length * length), memory.mutable_data_ptr(),
                  [&](const auto& body) { launch(body, body.grid(), index); });
}

Tensor distance(const Tensor& x, const Tensor& pieces, const Optional& on, int64_t m, double length,
                const std::string& order) {
  const DistanceArguments a = check_distance(x, pieces, on, m, length, order);
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  const Tensor points = torch::stable::contiguous(x), table = torch::stable::contiguous(pieces);
  const Optional ids = dense(on);
  const Tensor out = empty_of(x, {a.size, a.points});
  if (a.points == 0) return out;
  if (x.scalar_type() == ScalarType::Float) {
    run<float>(a, points, table, ids, m, length, out);
  } else {
    run<double>(a, points, table, ids, m, length, out);
  }
  return out;
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CUDA, m) { m.impl("distance", COLLOC_BOX(&colloc::distance)); }
