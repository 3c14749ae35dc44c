// Runs a body on the host with the grid it would have on the GPU.
#pragma once

#include "common/thread_index.h"

namespace colloc {

template <typename Body>
void host_launch(const Body& body, const Grid& grid) {
  for (int64_t i = 0; i < grid.size(); ++i) body(ThreadIndex{i, grid.size()});
}

}  // namespace colloc
