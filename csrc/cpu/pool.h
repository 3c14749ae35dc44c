// Large memory that is used again at every training step. The system hands out large blocks page
// by page, each cleared: for what a jet keeps for its backward that costs as much as filling it.
#pragma once

#include <cstddef>

namespace colloc {

// Blocks below this size are no business of the pool.
constexpr size_t pool_smallest = size_t(1) << 20;

// At least `bytes` of uninitialised memory on a page; null where there is none.
void* pool_take(size_t bytes);
// Gives a block back; some are held for the next pool_take (at most 128 MiB in all).
void pool_give(void* block);

// Frees what is held.
void pool_release();

}  // namespace colloc
