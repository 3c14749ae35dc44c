// Every op of the library, in one place: its name, arguments and results. CPU kernels register
// in csrc/cpu, CUDA kernels in csrc/cuda; fake tensors, autograd and vmap in python/colloc/ops.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(colloc, m) {
  // Points start, start + leap, ... of Halton's sequence, (n, dim) in [0, 1).
  m.def(
      "halton(SymInt n, SymInt dim, SymInt start, SymInt leap, int? seed, ScalarType dtype, "
      "Device device) -> Tensor");

  // f^(order)(scale a x), a and beta of shape (), (1,) or (W,) with W the last size of x.
  m.def(
      "adaptive_activation(Tensor x, Tensor a, Tensor? beta, str kind, float scale, int order) "
      "-> Tensor");
  // Its gradients by x (mask 1), a (mask 2) and beta (mask 4); those not asked for are empty.
  m.def(
      "adaptive_activation_backward(Tensor grad, Tensor x, Tensor a, Tensor? beta, str kind, "
      "float scale, int order, int mask) -> (Tensor, Tensor, Tensor)");
}
