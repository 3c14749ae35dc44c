// Op distance on the CPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <vector>

#include "common/box.h"
#include "common/distance_arguments.h"
#include "common/optional_tensor.h"
#include "cpu/select.h"

namespace colloc {
namespace {

template <typename T>
void run(DistanceKernel<T> kernel, const DistanceArguments& a, const Tensor& x,
         const Tensor& pieces, const Optional& on, int64_t m, double length, const Tensor& out) {
  const DistanceRows<T> rows{a.order,
                             static_cast<const math::Piece*>(pieces.const_data_ptr()),
                             a.count,
                             static_cast<int>(m),
                             static_cast<T>(1.0 / (length * length)),
                             a.points,
                             static_cast<const T*>(x.const_data_ptr()),
                             data<int64_t>(on),
                             static_cast<T*>(out.mutable_data_ptr())};
  const int64_t grain = std::max<int64_t>(distance_block, 4096 / a.count);
  torch::stable::parallel_for(0, a.points, grain, [&](int64_t begin, int64_t end) {
    std::vector<double> memory(a.count * distance_memory(a.size));
    kernel(rows, begin, end, memory.data());
  });
}

Tensor distance(const Tensor& x, const Tensor& pieces, const Optional& on, int64_t m, double length,
                const std::string& order) {
  const DistanceArguments a = check_distance(x, pieces, on, m, length, order);
  const Tensor points = torch::stable::contiguous(x), table = torch::stable::contiguous(pieces);
  const Optional ids = dense(on);
  const Tensor out = empty_of(x, {a.size, a.points});
  if (a.points == 0) return out;
  if (x.scalar_type() == ScalarType::Float) {
    run<float>(COLLOC_SELECT(distance_float), a, points, table, ids, m, length, out);
  } else {
    run<double>(COLLOC_SELECT(distance_double), a, points, table, ids, m, length, out);
  }
  return out;
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CPU, m) { m.impl("distance", COLLOC_BOX(&colloc::distance)); }
