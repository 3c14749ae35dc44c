// Op transfinite on the CPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include "common/box.h"
#include "common/transfinite_arguments.h"
#include "common/transfinite_body.h"

namespace colloc {
namespace {

Tensor transfinite(const Tensor& phi, const Tensor& mu, double length, const std::string& order,
                   int64_t n) {
  const TransfiniteArguments a = check_transfinite(phi, mu, length, order, n);
  const Tensor jets = torch::stable::contiguous(phi), powers = torch::stable::contiguous(mu);
  const Tensor out = empty_of(phi, {a.size, a.points, a.groups});
  if (a.points == 0) return out;
  const TransfiniteArrays arrays{phi.scalar_type() == ScalarType::Float,
                                 a.points,
                                 a.groups,
                                 jets.const_data_ptr(),
                                 static_cast<const int64_t*>(powers.const_data_ptr()),
                                 length,
                                 out.mutable_data_ptr()};
  with_transfinite_body(a.order, a.n, arrays, [&](const auto& body) {
    torch::stable::parallel_for(0, a.points, 512, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) body.run(i);
    });
  });
  return out;
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CPU, m) {
  m.impl("transfinite", COLLOC_BOX(&colloc::transfinite));
}
