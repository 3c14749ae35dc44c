// The work of one thread of the kernel that takes the gradients by the first layer's values to the
// points: by_x = delta W.
#pragma once

#include "common/thread_index.h"

namespace colloc {

struct FusedInputBody {
  int64_t points;
  int width, inputs;
  const float* delta;   // (points, width)
  const float* weight;  // (width, inputs)
  float* by_x;          // (points, inputs)

  COLLOC_HD_MEMBER void operator()(ThreadIndex thread) const {
    for (int64_t i = thread.global; i < points * inputs; i += thread.total) {
      const int64_t point = i / inputs;
      const int input = static_cast<int>(i - point * inputs);
      float sum = 0.0f;
      for (int c = 0; c < width; ++c) {
        sum += delta[point * width + c] * weight[c * inputs + input];
      }
      by_x[i] = sum;
    }
  }

  Grid grid() const { return grid_for(points * inputs); }
};

}  // namespace colloc
