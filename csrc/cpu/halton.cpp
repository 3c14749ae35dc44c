// Op halton on the CPU: checks, the tables of the low digits, and the loop over blocks of points.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <vector>

#include "common/box.h"
#include "common/check.h"
#include "common/halton_axes.h"
#include "cpu/select.h"

namespace colloc {
namespace {

constexpr uint64_t longest_table = 4096;

// Tables for all axes in one piece of memory; none where it would cost more than it saves.
struct Tables {
  std::vector<HaltonTable> axes;
  std::vector<double> values;
};

Tables make_tables(const std::vector<math::HaltonAxis>& axes, int64_t n) {
  Tables tables;
  const uint64_t longest = std::min<uint64_t>(longest_table, n);
  size_t total = 0;
  for (const auto& axis : axes) {
    HaltonTable table{axis, 1, 0, nullptr};
    while (axis.denominator <= math::exact_in_double && table.low_digits < axis.digits &&
           table.period * axis.base <= longest) {
      table.period *= axis.base;
      ++table.low_digits;
    }
    if (table.low_digits > 0) total += table.period;
    tables.axes.push_back(table);
  }
  tables.values.resize(total);
  double* at = tables.values.data();
  for (auto& table : tables.axes) {
    if (table.low_digits == 0) continue;
    // From the table of k digits to that of k + 1: the new digit adds the same to all of it.
    // All sums are integers below 2^53, so that they are exact.
    double weight = static_cast<double>(table.axis.denominator);
    uint64_t filled = 1;
    at[0] = 0.0;
    for (int position = 0; position < table.low_digits; ++position) {
      weight /= static_cast<double>(table.axis.base);
      for (uint64_t digit = table.axis.base; digit-- > 0;) {  // digit 0 last: it is overwritten
        const double add =
            weight * static_cast<double>(math::digit_of(table.axis, digit, position));
        double* part = at + digit * filled;
        for (uint64_t low = 0; low < filled; ++low) part[low] = at[low] + add;
      }
      filled *= table.axis.base;
    }
    table.reversed = at;
    at += table.period;
  }
  return tables;
}

template <typename T>
void fill(HaltonKernel<T> kernel, const Tables& tables, int64_t n, int64_t dim, uint64_t start,
          uint64_t leap, Tensor& out) {
  T* data = static_cast<T*>(out.mutable_data_ptr());
  torch::stable::parallel_for(0, n, 8192, [&](int64_t begin, int64_t end) {
    kernel(tables.axes.data(), dim, start, leap, begin, end, data + begin * dim);
  });
}

Tensor halton(int64_t n, int64_t dim, int64_t start, int64_t leap, std::optional<int64_t> seed,
              ScalarType dtype, torch::stable::Device device) {
  const auto axes = halton_axes(n, dim, start, leap, seed, dtype);
  Tensor out = torch::stable::empty({n, dim}, dtype, std::nullopt, device);
  if (n == 0) return out;
  const Tables tables = make_tables(axes, n);
  if (dtype == ScalarType::Float) {
    fill(COLLOC_SELECT(halton_float), tables, n, dim, start, leap, out);
  } else {
    fill(COLLOC_SELECT(halton_double), tables, n, dim, start, leap, out);
  }
  return out;
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CPU, m) { m.impl("halton", COLLOC_BOX(&colloc::halton)); }
