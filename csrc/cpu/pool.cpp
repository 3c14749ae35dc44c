#include "cpu/pool.h"

#include <sys/mman.h>

#include <list>
#include <mutex>
#include <unordered_map>

namespace colloc {
namespace {

constexpr size_t page = size_t(1) << 21;  // a huge page
constexpr size_t most_held = size_t(128) << 20;

// From the system itself, so that what is freed goes back to it: malloc may keep it for itself.
void* map(size_t bytes) {
  void* mapped =
      mmap(nullptr, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* start = static_cast<char*>(mapped);
  const size_t before = (page - reinterpret_cast<size_t>(start) % page) % page;
  if (before > 0) munmap(start, before);
  if (before < page) munmap(start + before + bytes, page - before);
  madvise(start + before, bytes, MADV_HUGEPAGE);
  return start + before;
}

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

  void drop(void* block) {
    munmap(block, sizes[block]);
    sizes.erase(block);
  }

  // Frees the oldest until no more than `bytes` are held.
  void shrink(size_t bytes) {
    while (held_bytes > bytes) {
      void* oldest = held.front();
      held.pop_front();
      held_bytes -= sizes[oldest];
      drop(oldest);
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
  void* block = map(bytes);
  if (block == nullptr) return nullptr;
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
    p.drop(block);
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
