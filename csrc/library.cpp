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

  // Jets (N, K, W), K components in the order of csrc/math/jet.h, through an activation:
  // f(y + bias). In the first layer y is the value alone, (N, W), and columns (n, W) are its
  // first derivatives, the same at every point.
  m.def(
      "jet_activation(Tensor y, Tensor? columns, Tensor? bias, Tensor? beta, str kind, str order, "
      "int n) -> Tensor");
  // The gradient by y, f(y + bias) once more, and for stan the gradient by beta of each (N, W).
  m.def(
      "jet_activation_backward(Tensor grad, Tensor y, Tensor? columns, Tensor? bias, Tensor? beta, "
      "str kind, str order, int n) -> (Tensor, Tensor, Tensor)");
  // The derivative of f(y + bias) along v.
  m.def(
      "jet_activation_tangent(Tensor v, Tensor y, Tensor? columns, Tensor? bias, Tensor? beta, "
      "str kind, str order, int n) -> Tensor");

  // The jets (N, K, m) of a multilayer perceptron, all layers at once, and what its backward
  // needs. weights[l] is (out, in); an absent bias or beta is empty; the activation of hidden
  // layer l is kinds[l]. Whole tiles of the first kept_points points are kept, the backward
  // evaluates the others again. CPU alone, and where torch's BLAS is found.
  m.def(
      "mlp_jet_tiled(Tensor x, Tensor[] weights, Tensor[] biases, Tensor[] betas, int[] kinds, "
      "str order, int[] wrt, SymInt kept_points) -> (Tensor, Tensor)");
  // Its gradients by x (mask 1) and by what belongs to layer l (mask 2 << l); others are empty.
  m.def(
      "mlp_jet_tiled_backward(Tensor grad, Tensor kept, Tensor x, Tensor[] weights, "
      "Tensor[] biases, Tensor[] betas, int[] kinds, str order, int[] wrt, int mask) "
      "-> (Tensor, Tensor[], Tensor[], Tensor[])");
  // The same in float32 on a GPU, in one kernel: hidden layers of up to 128 neurons without betas,
  // up to 8 inputs and 4 outputs, and small jets (csrc/cuda/mlp_jet_fused_layout.h). What is kept
  // is a row for each group of 16 points, as many as hold kept_points. exact: products in float32,
  // otherwise of operands rounded to TF32.
  m.def(
      "mlp_jet_fused(Tensor x, Tensor[] weights, Tensor[] biases, Tensor[] betas, int[] kinds, "
      "str order, int[] wrt, SymInt kept_points, bool exact) -> (Tensor, Tensor)");
  m.def(
      "mlp_jet_fused_backward(Tensor grad, Tensor kept, Tensor x, Tensor[] weights, "
      "Tensor[] biases, Tensor[] betas, int[] kinds, str order, int[] wrt, int mask, bool exact) "
      "-> (Tensor, Tensor[], Tensor[], Tensor[])");
  // Of q numbers a point, whose gradients by the jets are grads (q, N, K, m), the squared gradients
  // by the parameters of each of L layers, (q, 6, L, N) float64: by the weight; by the bias; by the
  // slope, summed over the neurons, and the squares' sum; by beta likewise. Without slopes
  // and betas (q, 2, L, N). factors[l] is n a,
  // which weights and biases hold already, slopes[l] is a (not 0), each empty, (1,) or (W,). Layers
  // whose bit of the mask is 0 have no squares of weight and bias. CPU alone.
  m.def(
      "mlp_jet_squares(Tensor grads, Tensor kept, Tensor x, Tensor[] weights, Tensor[] biases, "
      "Tensor[] betas, int[] kinds, str order, int[] wrt, Tensor[] factors, Tensor[] slopes, int "
      "mask) -> Tensor");
  m.def("has_tiled_mlp_jet() -> bool");
  // Frees the memory that is held for the next jet's `kept`.
  m.def("release_jet_memory() -> ()");
  // The same layer by layer, from the ops above and torch's matrix products; implemented in
  // python/colloc/ops/_mlp_jet_layers.py. Of a float32 network with low (float16 or bfloat16) the
  // jets between the layers, and what is kept, are of that dtype.
  m.def(
      "mlp_jet_layers(Tensor x, Tensor[] weights, Tensor[] biases, Tensor[] betas, int[] kinds, "
      "str order, int[] wrt, SymInt kept_points, ScalarType? low) -> (Tensor, Tensor)");
  m.def(
      "mlp_jet_layers_backward(Tensor grad, Tensor kept, Tensor x, Tensor[] weights, "
      "Tensor[] biases, Tensor[] betas, int[] kinds, str order, int[] wrt, int mask, "
      "ScalarType? low) "
      "-> (Tensor, Tensor[], Tensor[], Tensor[])");

  // Of each point |sum_k zbar_k h_k^T|_F^2, float64 (N,): the squared gradient by a layer's weight
  // from the layer's inputs h (N, K, in) and the gradients by its outputs zbar (N, K, out).
  m.def("ntk_trace(Tensor h, Tensor zbar) -> Tensor");
  // The inner products (N1, N2) of such gradients at two sets of points.
  m.def("ntk_gram_block(Tensor h1, Tensor zbar1, Tensor h2, Tensor zbar2) -> Tensor");

  // Probabilities q of a pool of N points, float64 (N,), proportional to
  // (m^power + floor + relative_floor mean) area, mean weighted by area. m is the measure (N,), or
  // the 2-norms of its rows (N, C). The second is whether all was 0 and q is the share of area.
  m.def(
      "importance_probabilities(Tensor measure, Tensor? area, bool norm, float power, float floor, "
      "float relative_floor) -> (Tensor, Tensor)");
  // n draws from q (N,): their indices in ascending order, (n,), and their weights, (n,).
  m.def(
      "importance_sample(Tensor probabilities, SymInt n, Tensor? area, str scheme, SymInt seed, "
      "ScalarType dtype) -> (Tensor, Tensor)");

  // The distance function phi of plane pieces (P, 19), rows of csrc/math/distance.h, at
  // x (N, 2): its jet (K, N). piece: the piece that a point is known to lie on, -1 for none.
  m.def(
      "distance(Tensor x, Tensor pieces, Tensor? piece, int m, float length, str order) "
      "-> Tensor");
  // The signed distances (N, 1) of points x (N, 2) to closed plane pieces, positive where these run
  // counter-clockwise around a point: straight (S, 12) and circular (C, 19) ones, float64, rows of
  // csrc/math/signed_distance.h. size: of all pieces, which rounding is measured by.
  m.def("signed_distance(Tensor x, Tensor straight, Tensor circular, float size) -> Tensor");
  // Their derivatives by x, (N, 2).
  m.def("signed_distance_slope(Tensor x, Tensor straight, Tensor circular, float size) -> Tensor");
  // The weights (K, N, M) of transfinite interpolation between M groups from the jets of their
  // distance functions phi (M, K, N), with whole exponents mu (M).
  m.def("transfinite(Tensor phi, Tensor mu, float length, str order, int n) -> Tensor");
}
