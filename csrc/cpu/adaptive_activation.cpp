// Ops adaptive_activation and adaptive_activation_backward on the CPU.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "common/activation_arguments.h"
#include "common/box.h"
#include "cpu/select.h"

namespace colloc {
namespace {

constexpr int64_t shortest_row = 1024;  // elements; narrow layers are taken several rows at once
constexpr int64_t rows_a_sum = 64;      // rows that are summed in the tensor's own precision
constexpr int64_t elements_a_task = 32768;

// x as rows of `width` elements: a multiple of the number of slopes, which repeat along it.
struct Rows {
  int64_t count;  // elements
  int64_t width;
  int64_t task;  // elements a task, a multiple of width

  Rows(int64_t elements, int64_t slopes) : count(elements) {
    width = slopes * std::max<int64_t>(1, shortest_row / slopes);
    task = width * std::max<int64_t>(1, elements_a_task / width);
  }
  int64_t tasks() const { return (count + task - 1) / task; }
};

// `values`, times `scale`, repeated to `width`. Refuses NaN and infinities: they would turn a
// whole layer into NaN.
template <typename T>
std::vector<T> repeated(const char* name, const Tensor& values, double scale, int64_t width) {
  const Tensor dense = torch::stable::contiguous(values);
  const T* data = static_cast<const T*>(dense.const_data_ptr());
  const int64_t count = dense.numel();
  std::vector<T> result(width);
  for (int64_t i = 0; i < width; ++i) {
    result[i] = static_cast<T>(scale * static_cast<double>(data[i % count]));
    STD_TORCH_CHECK(i >= count || std::isfinite(result[i]), name, ": expected finite values",
                    scale == 1.0 ? "" : " whose product with the scale is finite", ", got ",
                    static_cast<double>(data[i % count]), " at index ", i, ".");
  }
  return result;
}

template <typename T>
void run_forward(const ActivationKernels<T>& kernels, const ActivationArguments& arguments,
                 const Tensor& x, const Tensor& a, const std::optional<Tensor>& beta, double scale,
                 int64_t order, Tensor& y) {
  const Rows rows(x.numel(), arguments.width);
  const auto slope = repeated<T>("a", a, scale, rows.width);
  const auto stan = beta ? repeated<T>("beta", *beta, 1.0, rows.width) : slope;
  const auto kernel = kernels.forward[static_cast<int>(arguments.kind)][order];
  const T* input = static_cast<const T*>(x.const_data_ptr());
  T* output = static_cast<T*>(y.mutable_data_ptr());
  torch::stable::parallel_for(0, rows.tasks(), 1, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * rows.task, last = std::min(rows.count, end * rows.task);
    kernel(input + first, last - first, rows.width, slope.data(), stan.data(), output + first);
  });
}

Tensor forward(const Tensor& x, const Tensor& a, const std::optional<Tensor>& beta,
               const std::string& kind, double scale, int64_t order) {
  const auto arguments =
      check_activation(x, a, beta, kind, scale, order, math::max_activation_order);
  const Tensor dense = torch::stable::contiguous(x);
  Tensor y = empty_of(x, x.sizes());
  if (x.numel() == 0) return y;
  if (x.scalar_type() == ScalarType::Float) {
    run_forward(COLLOC_SELECT(activation_float), arguments, dense, a, beta, scale, order, y);
  } else {
    run_forward(COLLOC_SELECT(activation_double), arguments, dense, a, beta, scale, order, y);
  }
  return y;
}

// Sums of a task by column, in float64 from short sums in T; then the tasks in their order, so
// that the bits do not depend on the number of threads.
template <typename T>
void run_backward(const ActivationKernels<T>& kernels, const ActivationArguments& arguments,
                  const Tensor& grad, const Tensor& x, const Tensor& a,
                  const std::optional<Tensor>& beta, double scale, int64_t order, Tensor* grad_x,
                  Tensor* grad_a, Tensor* grad_beta) {
  const Rows rows(x.numel(), arguments.width);
  const int64_t slopes = arguments.width;
  const auto slope = repeated<T>("a", a, scale, rows.width);
  const auto stan = beta ? repeated<T>("beta", *beta, 1.0, rows.width) : slope;
  const auto kernel = kernels.backward[static_cast<int>(arguments.kind)][order];
  const T* g = static_cast<const T*>(grad.const_data_ptr());
  const T* input = static_cast<const T*>(x.const_data_ptr());
  T* output = grad_x ? static_cast<T*>(grad_x->mutable_data_ptr()) : nullptr;
  std::vector<double> partial(static_cast<size_t>(rows.tasks()) * slopes * 2, 0.0);

  torch::stable::parallel_for(0, rows.tasks(), 1, [&](int64_t begin, int64_t end) {
    std::vector<T> sums(2 * rows.width);
    std::vector<T> unused(grad_x ? 0 : rows.width * rows_a_sum);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t task_end = std::min(rows.count, (task + 1) * rows.task);
      double* total = partial.data() + task * slopes * 2;
      for (int64_t first = task * rows.task; first < task_end; first += rows.width * rows_a_sum) {
        const int64_t count = std::min(task_end - first, rows.width * rows_a_sum);
        std::fill(sums.begin(), sums.end(), T(0));
        kernel(g + first, input + first, count, rows.width, slope.data(), stan.data(),
               grad_x ? output + first : unused.data(), sums.data(), sums.data() + rows.width);
        for (int64_t i = 0; i < rows.width; ++i) {
          total[i % slopes] += static_cast<double>(sums[i]);
          total[slopes + i % slopes] += static_cast<double>(sums[rows.width + i]);
        }
      }
    }
  });

  const auto reduce = [&](Tensor* result, int64_t offset, double factor) {
    if (result == nullptr) return;
    std::vector<double> sum(slopes, 0.0);
    for (int64_t task = 0; task < rows.tasks(); ++task) {
      for (int64_t i = 0; i < slopes; ++i) sum[i] += partial[task * slopes * 2 + offset + i];
    }
    T* data = static_cast<T*>(result->mutable_data_ptr());
    if (result->numel() == 1) {
      double total = 0.0;
      for (double s : sum) total += s;
      data[0] = static_cast<T>(factor * total);
    } else {
      for (int64_t i = 0; i < slopes; ++i) data[i] = static_cast<T>(factor * sum[i]);
    }
  };
  reduce(grad_a, 0, scale);
  reduce(grad_beta, slopes, 1.0);
}

std::tuple<Tensor, Tensor, Tensor> backward(const Tensor& grad, const Tensor& x, const Tensor& a,
                                            const std::optional<Tensor>& beta,
                                            const std::string& kind, double scale, int64_t order,
                                            int64_t mask) {
  const auto arguments =
      check_activation(x, a, beta, kind, scale, order, math::max_activation_order - 1);
  check_like("grad", grad, "x", x);
  check_same_shape("grad", grad, "x", x);
  const auto result = [&](const Tensor* shape, int64_t bit) {
    return (shape && (mask & bit)) ? empty_of(x, shape->sizes()) : empty_of(x, {0});
  };
  Tensor grad_x = result(&x, mask_x);
  Tensor grad_a = result(&a, mask_a);
  Tensor grad_beta = result(beta ? &*beta : nullptr, mask_beta);
  if (x.numel() == 0) {
    torch::stable::zero_(grad_a);
    torch::stable::zero_(grad_beta);
    return {grad_x, grad_a, grad_beta};
  }
  const Tensor dense_grad = torch::stable::contiguous(grad);
  const Tensor dense_x = torch::stable::contiguous(x);
  Tensor* wanted_x = (mask & mask_x) ? &grad_x : nullptr;
  Tensor* wanted_a = (mask & mask_a) ? &grad_a : nullptr;
  Tensor* wanted_beta = (beta && (mask & mask_beta)) ? &grad_beta : nullptr;
  if (x.scalar_type() == ScalarType::Float) {
    run_backward(COLLOC_SELECT(activation_float), arguments, dense_grad, dense_x, a, beta, scale,
                 order, wanted_x, wanted_a, wanted_beta);
  } else {
    run_backward(COLLOC_SELECT(activation_double), arguments, dense_grad, dense_x, a, beta, scale,
                 order, wanted_x, wanted_a, wanted_beta);
  }
  return {grad_x, grad_a, grad_beta};
}

}  // namespace
}  // namespace colloc

STABLE_TORCH_LIBRARY_IMPL(colloc, CPU, m) {
  m.impl("adaptive_activation", COLLOC_BOX(&colloc::forward));
  m.impl("adaptive_activation_backward", COLLOC_BOX(&colloc::backward));
}
