// NumPy's arrays, and grids on the host, for the functions of the module _host_launch.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>

#include "common/host_block.h"
#include "common/host_launch.h"

namespace colloc {

namespace py = pybind11;

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

inline const auto run_on_host = [](const auto& body) { host_launch(body, body.grid()); };

// Forwards and backwards by turns, so that a missing barrier shows.
inline const auto run_blocks_on_host = [](const auto& body, const BlockGrid& grid) {
  static bool backwards = false;
  backwards = !backwards;
  host_block_launch(body, grid, backwards);
};

// For blocks that go through a loop: few of them go through it more than once. 0: the GPU's grid.
inline auto run_at_most(int64_t blocks) {
  return [blocks](const auto& body, const BlockGrid& grid) {
    const int64_t most = blocks > 0 ? blocks : grid.blocks;
    run_blocks_on_host(body, BlockGrid{std::min(grid.blocks, most), grid.shared});
  };
}

// Null for an absent array, which Python passes as an empty one.
template <typename T>
const T* read(const Array<T>& array) {
  return array.size() == 0 ? nullptr : array.data();
}

template <typename T>
T* written(Array<T>& array) {
  return array.size() == 0 ? nullptr : array.mutable_data();
}

}  // namespace colloc
