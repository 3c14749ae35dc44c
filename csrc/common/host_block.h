// Runs a block kernel (block_thread.h) on the host, for tests: a block after the other, every
// thread of it a fiber. What threads do together (barriers, shuffles, matrix products) is a place
// where they meet: each leaves its operands and lets the others run until all are there.
//
// What a GPU would forgive or hide is made to show: shared memory is NaN at first and has guards
// behind it, asynchronous copies arrive at the wait and not before (NaN meanwhile), addresses must
// be aligned, lanes must agree on what they do, and `backwards` runs warps and lanes in the other
// order, so that a missing barrier shows in one of the two. Products are summed exactly and cut
// off to float, about as tensor cores do.
#pragma once

#include <cmath>
#include <cstring>
#include <deque>
#include <exception>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "common/block_thread.h"
#include "common/host_fiber.h"
#include "common/host_half.h"

// Kernels are long and unrolled: what they call stays out of them, or they take minutes to compile.
#define COLLOC_APART __attribute__((noinline))

namespace colloc {

class HostBlock;

// A thread's own part of the block.
struct HostFiber {
  HostBlock* block;
  int thread;
  Fiber fiber;
  bool done = false;
  std::exception_ptr error;
  struct Copy {
    float* to;
    const float* from;
  };
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};

// Where threads meet.
struct Meeting {
  int arrived = 0;
  uint64_t round = 0;
  const char* what = nullptr;
};

struct HostWarp {
  Meeting meeting;
  // What lanes leave, and find.
  uint32_t a[warp_size][4], b[warp_size][2];
  float c[warp_size][4];
  const float* row[warp_size];
  uint32_t found[warp_size][4];
};

class HostThread {
 public:
  HostThread(HostBlock* block, HostFiber* fiber) : block_(block), fiber_(fiber) {}

  int thread() const { return fiber_->thread; }
  int threads() const;
  int64_t block() const;
  int64_t blocks() const;
  int lane() const { return thread() % warp_size; }
  int warp() const { return thread() / warp_size; }
  float* shared() const;
  void sync() const;
  void sync_warp() const;
  void sync(int barrier, int count) const;
  void arrive(int barrier, int count) const;
  template <bool Fresh>
  void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) const {
    const float zeros[4] = {};
    multiply(c, Fresh ? zeros : c, a, {b0, b1});
  }
  uint32_t to_halves(float first, float second) const {
    return half_from_float(first) | half_from_float(second) << 16;
  }
  void from_halves(uint32_t bits, float& first, float& second) const {
    first = float_from_half(bits & 0xffffu);
    second = float_from_half(bits >> 16);
  }
  uint32_t reduce_max(uint32_t x) const;
  float shuffle_xor(float x, int mask) const;
  void load_matrix(uint32_t (&to)[4], const float* row) const;
  void load_transposed(uint32_t (&to)[4], const float* row) const;
  void copy_async(float* shared, const float* global) const;
  void commit_async() const {
    fiber_->groups.push_back(std::move(fiber_->open));
    fiber_->open.clear();
  }
  template <int Left>
  void wait_async() const {
    while (fiber_->groups.size() > Left) {
      for (const auto& copy : fiber_->groups.front()) std::memcpy(copy.to, copy.from, 16);
      fiber_->groups.pop_front();
    }
  }

  float load(const float* from) const { return *from; }
  void load2(float (&to)[2], const float* from) const { take(to, from); }
  void load4(float (&to)[4], const float* from) const { take(to, from); }
  void load4_once(float (&to)[4], const float* from) const { take(to, from); }
  void prefetch(const float*) const {}
  void store4(float* to, const float (&v)[4]) const { put(to, v); }
  void read2(float (&to)[2], const float* from) const { take(to, check_shared(from, 8)); }
  void read4(float (&to)[4], const float* from) const { take(to, check_shared(from, 16)); }
  void write2(float* to, float a, float b) const {
    check_shared(to, 8);
    put(to, {a, b});
  }
  void write4(float* to, const float (&v)[4]) const {
    check_shared(to, 16);
    put(to, v);
  }

 private:
  template <size_t Count>
  COLLOC_APART static void take(float (&to)[Count], const float* from) {
    check_aligned(from, sizeof(to));
    std::memcpy(to, from, sizeof(to));
  }
  template <size_t Count>
  COLLOC_APART static void put(float* to, const float (&v)[Count]) {
    check_aligned(to, sizeof(v));
    std::memcpy(to, v, sizeof(v));
  }
  static void check_aligned(const void* at, size_t bytes) {
    if (reinterpret_cast<uintptr_t>(at) % bytes != 0) {
      throw std::runtime_error("an address that is no multiple of " + std::to_string(bytes));
    }
  }
  const float* check_shared(const float* at, size_t bytes) const;
  void multiply(float (&to)[4], const float (&c)[4], const uint32_t (&a)[4],
                const uint32_t (&b)[2]) const;
  template <typename Make>
  void meet(const char* what, const Make& make) const;

  HostBlock* block_;
  HostFiber* fiber_;
};

class HostBlock {
 public:
  HostBlock(int threads, const BlockGrid& grid, bool backwards)
      : threads_(threads), grid_(grid), backwards_(backwards), warps_(threads / warp_size) {
    if (threads % warp_size != 0) throw std::invalid_argument("threads: whole warps expected");
    memory_.resize((grid.shared + guard) / sizeof(Chunk) + 1);
    for (int i = 0; i < threads; ++i) {
      fibers_.push_back(std::make_unique<HostFiber>());
      fibers_.back()->block = this;
      fibers_.back()->thread = i;
    }
  }

  template <typename Body>
  void run(const Body& body, int64_t block) {
    block_ = block;
    clear();
    for (auto& fiber : fibers_) {
      fiber->done = false;
      fiber->open.clear();
      fiber->groups.clear();
      fiber->fiber.start([this, &body, one = fiber.get()] {
        try {
          body(HostThread(this, one));
        } catch (...) {
          one->error = std::current_exception();
        }
        one->done = true;
        ++progress_;
      });
    }
    while (pass()) {
    }
    check_guard();
  }

 private:
  friend class HostThread;
  struct alignas(16) Chunk {
    char bytes[16];
  };
  static constexpr size_t guard = 1024;

  float* shared() { return reinterpret_cast<float*>(memory_.data()); }

  void clear() {
    float* memory = shared();
    const size_t count = memory_.size() * sizeof(Chunk) / sizeof(float);
    for (size_t i = 0; i < count; ++i) memory[i] = std::numeric_limits<float>::quiet_NaN();
    for (HostWarp& warp : warps_) warp.meeting = {};
    all_ = {};
    for (Meeting& some : some_) some = {};
    std::memset(reinterpret_cast<char*>(memory) + grid_.shared, 0xa5, guard);
  }

  void check_guard() {
    const char* bytes = reinterpret_cast<const char*>(shared()) + grid_.shared;
    for (size_t i = 0; i < guard; ++i) {
      if (bytes[i] != static_cast<char>(0xa5)) {
        throw std::runtime_error("written past the end of shared memory");
      }
    }
  }

  // Lets every thread run until it waits; whether any is left.
  bool pass() {
    const uint64_t before = progress_;
    bool left = false;
    for (size_t w = 0; w < warps_.size(); ++w) {
      const size_t warp = backwards_ ? warps_.size() - 1 - w : w;
      left = run_warp(static_cast<int>(warp)) || left;
    }
    if (left && progress_ == before) {
      throw std::runtime_error("threads that wait for others for ever");
    }
    return left;
  }

  // As long as its lanes get on.
  bool run_warp(int warp) {
    while (true) {
      const uint64_t before = progress_;
      bool left = false;
      for (int i = 0; i < warp_size; ++i) {
        const int lane = backwards_ ? warp_size - 1 - i : i;
        HostFiber& fiber = *fibers_[warp * warp_size + lane];
        if (fiber.done) continue;
        fiber.fiber.resume();
        if (fiber.error) std::rethrow_exception(std::exchange(fiber.error, nullptr));
        left = left || !fiber.done;
      }
      if (!left || progress_ == before) return left;
    }
  }

  // The last to come makes what all wait for.
  template <typename Make>
  void meet(HostFiber& one, Meeting& place, int expected, const char* what, const Make& make,
            bool wait = true) {
    if (place.arrived > 0 && std::strcmp(place.what, what) != 0) {
      throw std::runtime_error(std::string("lanes disagree: ") + place.what + " and " + what);
    }
    place.what = what;
    const uint64_t round = place.round;
    if (++place.arrived == expected) {
      make();
      place.arrived = 0;
      ++place.round;
      ++progress_;
      return;
    }
    while (wait && place.round == round) one.fiber.pause();
  }

  int threads_;
  BlockGrid grid_;
  bool backwards_;
  int64_t block_ = 0;
  uint64_t progress_ = 0;
  std::vector<HostWarp> warps_;
  Meeting all_, some_[16];
  std::vector<Chunk> memory_;
  std::vector<std::unique_ptr<HostFiber>> fibers_;
};

inline int HostThread::threads() const { return block_->threads_; }
inline int64_t HostThread::block() const { return block_->block_; }
inline int64_t HostThread::blocks() const { return block_->grid_.blocks; }
inline float* HostThread::shared() const { return block_->shared(); }

COLLOC_APART inline void HostThread::sync() const {
  block_->meet(*fiber_, block_->all_, threads(), "sync", [] {});
}

COLLOC_APART inline void HostThread::sync(int barrier, int count) const {
  block_->meet(*fiber_, block_->some_[barrier], count, "some", [] {});
}

COLLOC_APART inline void HostThread::arrive(int barrier, int count) const {
  block_->meet(*fiber_, block_->some_[barrier], count, "some", [] {}, false);
  ++block_->progress_;
}

template <typename Make>
void HostThread::meet(const char* what, const Make& make) const {
  HostWarp& warp = block_->warps_[this->warp()];
  block_->meet(*fiber_, warp.meeting, warp_size, what, [&] { make(warp); });
}

COLLOC_APART inline void HostThread::sync_warp() const {
  meet("sync_warp", [](HostWarp&) {});
}

COLLOC_APART inline const float* HostThread::check_shared(const float* at, size_t bytes) const {
  const char* begin = reinterpret_cast<const char*>(block_->shared());
  const char* place = reinterpret_cast<const char*>(at);
  check_aligned(at, bytes);
  if (place < begin || place + bytes > begin + block_->grid_.shared) {
    throw std::runtime_error("an address outside of shared memory");
  }
  return at;
}

COLLOC_APART inline void HostThread::copy_async(float* shared, const float* global) const {
  check_shared(shared, 16);
  check_aligned(global, 16);
  for (int i = 0; i < 4; ++i) shared[i] = std::numeric_limits<float>::quiet_NaN();
  fiber_->open.push_back({shared, global});
}

template <typename Body>
void host_block_launch(const Body& body, const BlockGrid& grid, bool backwards = false) {
  HostBlock block(Body::threads, grid, backwards);
  for (int64_t i = 0; i < grid.blocks; ++i) block.run(body, i);
}

}  // namespace colloc

#include "common/host_warp.h"
