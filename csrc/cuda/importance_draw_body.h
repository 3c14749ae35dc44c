// Draws of op importance_sample: each finds its item in the tree of sums, or goes on to it from the
// draw before.
#pragma once

#include <limits>

#include "cuda/importance_times_body.h"

namespace colloc {

// Where in [0, sum of the pool) each draw lies.
struct DrawPlaces {
  math::DrawScheme scheme;
  math::DrawKeys keys;
  SumTree pool, times;
  // Of multinomial draws (importance_times_body.h).
  const double* starts;
  const double* within;
  const double* groups;
  int64_t n;

  // What 32 neighbouring draws have in common.
  struct Group {
    double begin, end, before, unit;
  };

  COLLOC_HD_MEMBER Group group_of(int64_t j) const {
    const double sum = pool.whole();
    if (scheme != math::DrawScheme::multinomial)
      return {0.0, 0.0, 0.0, sum / static_cast<double>(n)};
    const int64_t b = j / math::draw_block, g = j / fan;
    const int64_t last = (n < (b + 1) * math::draw_block ? n : (b + 1) * math::draw_block) - 1;
    const double before = g % groups_a_block > 0 ? groups[g - 1] : 0.0;
    const double unit = sum / times.whole();
    const double begin = starts[b] * unit, end = starts[b + 1] * unit;
    return {begin, end, before, (end - begin) / groups[last / fan]};
  }

  COLLOC_HD_MEMBER double place(const Group& group, int64_t j) const {
    if (scheme != math::DrawScheme::multinomial) {
      return math::stratified_place(scheme, keys, j, group.unit);
    }
    const double at = group.begin + (group.before + within[j]) * group.unit;
    return at < group.end ? at : group.end;
  }
};

// One draw a thread; where nothing is moved after, with its weight.
template <typename T>
struct DrawBody {
  DrawPlaces places;
  math::WeightFormula formula;
  DeviceShares shares;
  int64_t* index;
  T* weight;  // may be null

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t j = thread.global; j < places.n; j += thread.total) {
      const int64_t i = places.pool.find(places.place(places.group_of(j), j));
      index[j] = i;
      if (weight != nullptr) {
        weight[j] = static_cast<T>(math::draw_weight(formula, places.pool.values[i], shares(i)));
      }
    }
  }

  Grid grid() const { return grid_for(places.n); }
};

// Finds what SumTree::find does, for ascending places, of a tree in which all values count. It
// keeps the sums around the last place's node in every level: where the next one lies between them
// too, nothing is searched. The sums of a level ascend and rounding keeps the order of places, so
// that a place that is not below the last one lies above all that the last one did.
class TreeWalk {
 public:
  explicit COLLOC_BLOCK TreeWalk(const SumTree& tree) : tree_(tree) {}

  COLLOC_BLOCK int64_t find(double place) {
    if (!next(place)) seek(place);
    return leaf_ * fan + at_;
  }

 private:
  static constexpr int kept = 5;  // levels: of 32^6 values; with more, every place is searched
  static constexpr int ahead = 8;
  static constexpr double none = std::numeric_limits<double>::infinity();

  const SumTree& tree_;
  double last_ = none;                // the last place; none: the next one is searched
  double lower_[kept], upper_[kept];  // sums up to the node, without and with it
  int64_t leaf_ = 0;
  int child_ = 0, children_ = 0;  // the leaf's place under its parent, whose children are so many
  int at_ = 0, size_ = 0;         // the place in the leaf, which has so many values
  double sum_ = 0.0;              // of the leaf's values up to there

  COLLOC_BLOCK const double* values() const { return tree_.values + leaf_ * fan; }

  static COLLOC_BLOCK int full_or(int64_t left) {
    return left < fan ? static_cast<int>(left) : static_cast<int>(fan);
  }

  COLLOC_BLOCK void begin_leaf() {
    at_ = 0;
    size_ = full_or(tree_.count - leaf_ * fan);
    sum_ = values()[0];
  }

  // To the leaf's first value whose running sum is above the place.
  COLLOC_BLOCK bool go_on(double place) {
    const double* from = values();
#pragma unroll 1
    while (sum_ <= place) {
      if (++at_ == size_) return false;
      sum_ += from[at_];
    }
    return true;
  }

  COLLOC_BLOCK bool next(double place) {
    if (!(place >= last_)) return false;
    last_ = place;
#pragma unroll
    for (int l = kept - 1; l > 0; --l) {
      if (!(place < upper_[l])) return false;
      place -= lower_[l];
    }
    if (!(place < upper_[0])) {
#pragma unroll 1
      do {
        if (++child_ == children_) return false;
        ++leaf_;
        lower_[0] = upper_[0];
        upper_[0] = tree_.level[0][leaf_];
      } while (!(place < upper_[0]));
      begin_leaf();
    }
    return go_on(place - lower_[0]);
  }

  COLLOC_BLOCK void seek(double place) {
    last_ = place;
    leaf_ = 0;
    for (int l = tree_.levels - 2; l >= kept; --l) {
      double lower, upper;
      descend(l, place, lower, upper);
      last_ = none;
    }
#pragma unroll
    for (int l = kept - 1; l >= 0; --l) {
      lower_[l] = 0.0;
      upper_[l] = none;
      if (l < tree_.levels - 1) descend(l, place, lower_[l], upper_[l]);
    }
    begin_leaf();
    const double* from = values();
    // Several at once: loads that need not wait for each other.
#pragma unroll 1
    while (at_ + ahead < size_) {
      double next[ahead];
#pragma unroll
      for (int k = 0; k < ahead; ++k) next[k] = from[at_ + 1 + k];
      double sum = sum_;
#pragma unroll
      for (int k = 0; k < ahead; ++k) sum += next[k];
      if (sum > place) break;
      sum_ = sum;
      at_ += ahead;
    }
    if (go_on(place)) return;
    // The last one above 0 where rounding finds none.
    last_ = none;
    at_ = size_ - 1;
    while (at_ > 0 && !(from[at_] > 0.0)) --at_;
  }

  // leaf_ from a node of level l + 1 to its child.
  COLLOC_BLOCK void descend(int l, double& place, double& lower, double& upper) {
    const double* sums = tree_.level[l] + leaf_ * fan;
    children_ = full_or(tree_.size[l] - leaf_ * fan);
    child_ = children_ == fan ? SumTree::child<true>(sums, fan, place)
                              : SumTree::child<false>(sums, children_, place);
    if (child_ > 0) lower = sums[child_ - 1];
    upper = sums[child_];
    leaf_ = leaf_ * fan + child_;
  }
};

// Several neighbouring draws a thread. A warp's indices go through shared memory, so that its lanes
// write neighbours together.
template <typename T>
struct WalkBody {
  static constexpr int threads = 256, least_blocks = 4;
  static constexpr int draws = 8, together = 4;
  static constexpr int row = draws + 1;  // of a lane in shared memory; odd for its banks

  DrawPlaces places;
  math::WeightFormula formula;
  DeviceShares shares;
  int64_t* index;
  T* weight;

  template <typename Thread>
  COLLOC_BLOCK void operator()(const Thread& t) const {
    int64_t* items = reinterpret_cast<int64_t*>(t.shared()) + t.warp() * warp_size * row;
    const int64_t first = (t.block() * threads + t.warp() * warp_size) * draws;
    const int64_t begin = first + t.lane() * draws;
    if (begin < places.n) {
      const DrawPlaces::Group group = places.group_of(begin);
      const int64_t left = places.n - begin;
      const int count = left < draws ? static_cast<int>(left) : draws;
      TreeWalk walk(places.pool);
#pragma unroll 1
      for (int k = 0; k < count; ++k) {
        items[t.lane() * row + k] = walk.find(places.place(group, begin + k));
      }
    }
    t.sync_warp();
#pragma unroll
    for (int k = 0; k < draws; k += together) write(t, items, first, k);
  }

  // Rounds k, k + 1 .. of the warp's draws.
  template <typename Thread>
  COLLOC_BLOCK void write(const Thread& t, const int64_t* items, int64_t first, int k) const {
    int64_t item[together];
    double q[together], share[together];
#pragma unroll
    for (int i = 0; i < together; ++i) {
      const int at = (k + i) * warp_size + t.lane();
      const bool inside = first + at < places.n;
      item[i] = inside ? items[at / draws * row + at % draws] : 0;
      q[i] = places.pool.values[item[i]];
      share[i] = shares(item[i]);
    }
#pragma unroll
    for (int i = 0; i < together; ++i) {
      const int64_t j = first + (k + i) * warp_size + t.lane();
      if (j < places.n) {
        index[j] = item[i];
        weight[j] = static_cast<T>(math::draw_weight(formula, q[i], share[i]));
      }
    }
  }

  BlockGrid grid() const {
    constexpr int64_t block = threads * draws;
    return {(places.n + block - 1) / block, block / draws * row * sizeof(int64_t)};
  }
};

}  // namespace colloc
