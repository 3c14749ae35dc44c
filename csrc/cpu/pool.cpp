#include "cpu/pool.h"

#include <sys/mman.h>

#include <cstdlib>
#include <list>
#include <mutex>
#include <unordered_map>

namespace colloc {
namespace {

constexpr size_t page = size_t(1) << 21;  // a huge page
constexpr size_t most_held = size_t(128) << 20;

struct Pool {
  std::mutex mutex;
  std::unordered_map<void*, size_t> sizes;  // of all blocks, held or in use
  std::list<void*> held;                    // the oldest first
  size_t held_bytes = 0;

  // The smallest held block that fits without wasting half of itself.
  void* find(size_t bytes) {
    auto best = held.end();
    for (auto it = held.begin(); it != held.end(); ++it) {
      const size_t size = sizes[*it];
      if (size < bytes || size > 2 * bytes) continue;
      if (best == held.end() || size < sizes[*best]) best = it;
    }
    if (best == held.end()) return nullptr;
    void* block = *best;
    held_bytes -= sizes[block];
    held.erase(best);
    return block;
  }

  // Frees the oldest until no more than `bytes` are held.
  void shrink(size_t bytes) {
    while (held_bytes > bytes) {
      void* oldest = held.front();
      held.pop_front();
      held_bytes -= sizes[oldest];
      sizes.erase(oldest);
      std::free(oldest);
    }
  }
};

Pool& pool() {
  static Pool* instance = new Pool;  // never destroyed: tensors may outlive static objects
  return *instance;
}

}  // namespace

void* pool_take(size_t bytes) {
  bytes = (bytes + page - 1) / page * page;
  Pool& p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  if (void* block = p.find(bytes)) return block;
  void* block = std::aligned_alloc(page, bytes);
  if (block == nullptr) return nullptr;
  madvise(block, bytes, MADV_HUGEPAGE);
  p.sizes[block] = bytes;
  return block;
}

void pool_give(void* block) {
  Pool& p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  const size_t size = p.sizes[block];
  // What does not fit any more pushes out the oldest.
  p.shrink(size < most_held ? most_held - size : 0);
  if (size > most_held) {
    p.sizes.erase(block);
    std::free(block);
    return;
  }
  p.held.push_back(block);
  p.held_bytes += size;
}

void pool_release() {
  Pool& p = pool();
  const std::lock_guard<std::mutex> lock(p.mutex);
  p.shrink(0);
}

}  // namespace colloc
