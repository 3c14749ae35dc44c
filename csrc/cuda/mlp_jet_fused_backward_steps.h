// The launches of op mlp_jet_fused_backward in their order, on a GPU or on the host.
#pragma once

#include <algorithm>
#include <vector>

#include "cuda/mlp_jet_fused_backward.h"
#include "cuda/mlp_jet_fused_sums.h"
#include "cuda/mlp_jet_fused_top.h"
#include "cuda/mlp_jet_fused_weights_body.h"

namespace colloc {

// Gradients; null where they are not wanted.
struct FusedGradients {
  float* first_delta;  // by the first layer's values, (N, widths[1]), for x
  float* weights[most_fused_layers + 1];
  float* biases[most_fused_layers + 1];

  bool wanted(int l) const { return weights[l] != nullptr || biases[l] != nullptr; }
};

struct FusedBackwardCall {
  FusedNetwork net;
  FusedSources from;
  const float* grad;  // (N, K, m)
  const float* kept;  // FusedKept of the first groups
  int64_t kept_groups;
  bool exact;
  FusedGradients to;
  int64_t most_delta, most_kept;  // floats of a chunk: gradients; pre-activations made anew
};

// Groups that go down together, and where their pre-activations are.
struct FusedChunk {
  int64_t first, groups;
  bool was_kept;
};

inline void add_chunks(std::vector<FusedChunk>& chunks, int64_t begin, int64_t end, int64_t most,
                       bool was_kept) {
  if (begin == end) return;
  const int64_t count = (end - begin + most - 1) / most, each = (end - begin + count - 1) / count;
  for (int64_t first = begin; first < end; first += each) {
    chunks.push_back({first, std::min(each, end - first), was_kept});
  }
}

// `Device` has
//   float* take(int64_t count): memory until the end;
//   void launch(const Body&, const BlockGrid&);
//   int multiprocessors(); size_t most_shared(): of a block, bytes;
//   void forward(Form, Index<W>, int64_t first, int64_t groups, float* kept): pre-activations.
// Returns false where a block's memory is too small, before anything is launched.
template <typename Form, int W, typename Device>
class FusedBackwardSteps {
 public:
  FusedBackwardSteps(const FusedBackwardCall& call, Device& device) : call_(call), device_(device) {
    first_.weight = net().packed + weights().first();
    first_.x = net().x;
    first_.inputs = net().inputs;
    std::copy_n(net().wrt, math::max_jet_inputs, first_.wrt);
    first_.delta = call.to.first_delta;
    first_.width = call.from.widths[1];
  }

  bool run() {
    lowest_ = 0;
    while (call_.to.first_delta == nullptr && lowest_ <= hidden() && !call_.to.wanted(lowest_)) {
      ++lowest_;
    }
    if (lowest_ > hidden()) return true;
    if (!fit()) return false;
    add_chunks(chunks_, 0, call_.kept_groups, of_delta(), true);
    add_chunks(chunks_, call_.kept_groups, net().groups(), std::min(of_delta(), of_kept()), false);
    prepare();
    bool begin = true;
    for (const FusedChunk& chunk : chunks_) {
      down(chunk, begin);
      begin = false;
    }
    add_up();
    return true;
  }

 private:
  static constexpr int K = FusedJet<Form>::size, n = Form::inputs;
  using Top = FusedTopBody<Form, W>;
  using Mid = FusedMidBody<Form, W>;
  using Tile = FusedTile<Form, W>;
  using Warps = FusedWarps<W>;
  using Square = FusedSquare<W>;
  static constexpr int64_t image = FusedImage<W>::words(K);

  const FusedNetwork& net() const { return call_.net; }
  int hidden() const { return net().hidden; }
  FusedWeights weights() const { return {W, net().inputs, hidden(), net().outputs}; }
  int64_t of_delta() const {
    return std::max<int64_t>(1, call_.most_delta / image / Tile::groups) * Tile::groups;
  }
  int64_t of_kept() const {
    return std::max<int64_t>(1, call_.most_kept / FusedKept<W, K>::per_group(hidden()));
  }
  // Of the sums that go with hidden layer l.
  int rows(int l) const { return l == 0 ? 1 + n + net().inputs : 1; }

  // How many tiles a block has room for.
  bool fit() {
    for (const auto& [deltas, hs] : {std::pair{3, 2}, std::pair{3, 1}, std::pair{2, 1}}) {
      delta_stages_ = deltas, h_stages_ = hs;
      if (Mid::shared(first_, deltas, hs) <= device_.most_shared()) return true;
    }
    return false;
  }

  void prepare() {
    int64_t most = 0, made = 0;
    for (const FusedChunk& chunk : chunks_) {
      most = std::max(most, chunk.groups);
      if (!chunk.was_kept) made = std::max(made, chunk.groups);
    }
    const int64_t tiles = (most + Tile::groups - 1) / Tile::groups;
    padded_ = tiles * Tile::groups;
    top_blocks_ = std::min<int64_t>(2 * device_.multiprocessors(), padded_ / Warps::rows);
    mid_blocks_ = std::min<int64_t>(device_.multiprocessors(), tiles);
    if (most == 0) return;
    if (made > 0) made_ = device_.take(made * FusedKept<W, K>::per_group(hidden()));
    if (hidden() > 1) {
      delta_ = device_.take(padded_ * image);
      units_ = device_.take(padded_ * FusedImage<W>::units(K));
    }
    top_rows_ = rows(hidden() - 1) + net().outputs + 1;
    top_sums_ = device_.take(top_blocks_ * Warps::rows * top_rows_ * W);
    for (int l = 0; l + 1 < hidden(); ++l) {
      sums_.push_back(nullptr);
      squares_.push_back(nullptr);
      if (l + 1 < lowest_) continue;
      sums_[l] = device_.take(mid_blocks_ * Warps::rows * rows(l) * W);
      if (call_.to.weights[l + 1] == nullptr) continue;
      squares_[l] = device_.take(mid_blocks_ * Square::splits * W * W);
    }
  }

  void down(const FusedChunk& chunk, bool begin) {
    const FusedKept<W, K> keeping{chunk.was_kept ? call_.kept_groups : chunk.groups};
    if (!chunk.was_kept) {
      device_.forward(Form{}, math::Index<W>{}, chunk.first, chunk.groups, made_);
    }
    const float* kept = chunk.was_kept ? call_.kept : made_;
    const auto part = [&](int l) {
      return FusedPart{static_cast<math::Kind>(net().kinds[l]),
                       kept + keeping.at(l, chunk.was_kept ? chunk.first : 0, 0, 0, 0),
                       delta_,
                       units_,
                       chunk.groups,
                       chunk.first * fused_group,
                       std::min(net().points, (chunk.first + chunk.groups) * fused_group)};
    };
    const int64_t tiles = (chunk.groups + Tile::groups - 1) / Tile::groups;
    const int last = hidden() - 1;
    const FusedTop top{
        part(last),           last == 0 ? first_ : FusedFirst{}, {top_sums_, top_rows_, begin},
        call_.grad,           net().packed + weights().last(),   net().outputs,
        tiles * Tile::groups, last > 0 && lowest_ <= last};
    device_.launch(Top{top}, {top_blocks_, Top::shared(top.first, top.outputs)});
    for (int l = last - 1; l >= 0 && l + 1 >= lowest_; --l) {
      const FusedMid mid{part(l),
                         l == 0 ? first_ : FusedFirst{},
                         {sums_[l], rows(l), begin},
                         net().packed + weights().square(l + 1, 1),
                         net().packed + weights().units(l + 1, 1),
                         squares_[l],
                         l > 0 && lowest_ <= l,
                         call_.exact,
                         delta_stages_,
                         h_stages_};
      device_.launch(Mid{mid}, {mid_blocks_, Mid::shared(mid.first, delta_stages_, h_stages_)});
    }
  }

  void add_up() {
    const int last = hidden() - 1;
    const int64_t copies = top_blocks_ * Warps::rows;
    const FusedGradients& to = call_.to;
    add_rows(top_sums_, top_rows_, rows(last), copies, net().outputs, call_.from.widths[last + 1],
             to.weights[last + 1]);
    add_rows(top_sums_, top_rows_, rows(last) + net().outputs, copies, 1, net().outputs,
             to.biases[last + 1]);
    add_layer(last, top_sums_, top_rows_, copies);
    for (int l = last - 1; l >= 0 && l + 1 >= lowest_; --l) {
      const bool any = !sums_.empty();
      add_layer(l, any ? sums_[l] : nullptr, rows(l), mid_blocks_ * Warps::rows);
      add({FusedSum::square,
           any ? squares_[l] : nullptr,
           W * W,
           static_cast<int>(mid_blocks_ * Square::splits),
           call_.from.widths[l + 2],
           call_.from.widths[l + 1],
           0,
           {},
           to.weights[l + 1],
           0});
    }
    launch_sums();
  }

  // Of hidden layer l the bias, and the weight if it is the first.
  void add_layer(int l, const float* from, int all_rows, int64_t copies) {
    add_rows(from, all_rows, 0, copies, 1, call_.from.widths[l + 1], call_.to.biases[l]);
    if (l > 0) return;
    FusedSum sum{FusedSum::first,
                 from,
                 int64_t{all_rows} * W,
                 static_cast<int>(copies),
                 call_.from.widths[1],
                 net().inputs,
                 n,
                 {},
                 call_.to.weights[0],
                 0};
    std::copy_n(net().wrt, math::max_jet_inputs, sum.wrt);
    add(sum);
  }

  void add_rows(const float* from, int all_rows, int row, int64_t copies, int height, int width,
                float* to) {
    add({FusedSum::rows,
         from + row * W,
         int64_t{all_rows} * W,
         static_cast<int>(copies),
         height,
         width,
         0,
         {},
         to,
         0});
  }

  void add(const FusedSum& sum) {
    if (sum.to == nullptr) return;
    if (sums_body_.count == FusedSumsBody<W>::most) launch_sums();
    sums_body_.jobs[sums_body_.count] = sum;
    sums_body_.jobs[sums_body_.count++].first_block = sum_blocks_;
    sum_blocks_ += FusedSumsBody<W>::blocks(sum);
  }

  void launch_sums() {
    if (sums_body_.count > 0) {
      device_.launch(sums_body_, {sum_blocks_, FusedSumsBody<W>::shared()});
    }
    sums_body_.count = 0;
    sum_blocks_ = 0;
  }

  const FusedBackwardCall& call_;
  Device& device_;
  FusedFirst first_{};
  int lowest_ = 0;  // the lowest layer that wants a gradient; 0 where the points do
  int delta_stages_ = 0, h_stages_ = 0, top_rows_ = 0;
  int64_t padded_ = 0, top_blocks_ = 0, mid_blocks_ = 0, sum_blocks_ = 0;
  std::vector<FusedChunk> chunks_;
  float *made_ = nullptr, *delta_ = nullptr, *units_ = nullptr, *top_sums_ = nullptr;
  std::vector<float*> sums_, squares_;
  FusedSumsBody<W> sums_body_{};
};

}  // namespace colloc
