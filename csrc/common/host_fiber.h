// A function with a stack of its own that can be left and taken up again, for tests on the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace colloc {

#if defined(__x86_64__)

// Saves what a callee must keep and the stack pointer, goes on with the other stack.
extern "C" void colloc_switch_stack(void** from, void* to);
asm(R"(
.pushsection .text
.weak colloc_switch_stack
.hidden colloc_switch_stack
.type colloc_switch_stack, @function
colloc_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size colloc_switch_stack, .-colloc_switch_stack
.popsection
)");

class Fiber {
 public:
  // The function must not throw.
  void start(std::function<void()> function) {
    if (!stack_) stack_ = std::make_unique_for_overwrite<std::byte[]>(size);
    function_ = std::move(function);
    auto top = reinterpret_cast<uintptr_t>(stack_.get() + size) & ~uintptr_t{15};
    void** at = reinterpret_cast<void**>(top);
    *--at = nullptr;  // a return address that is not there: the stack is as after a call
    *--at = reinterpret_cast<void*>(&enter);
    for (int i = 0; i < 6; ++i) *--at = nullptr;
    own_ = at;
  }

  // Runs the function until it pauses or ends.
  void resume() {
    current() = this;
    colloc_switch_stack(&caller_, own_);
  }

  void pause() { colloc_switch_stack(&own_, caller_); }

 private:
  static constexpr size_t size = 64 << 10;

  static Fiber*& current() {
    static thread_local Fiber* fiber = nullptr;
    return fiber;
  }

  static void enter() {
    Fiber* self = current();
    self->function_();
    self->pause();
  }

  std::unique_ptr<std::byte[]> stack_;
  std::function<void()> function_;
  void* own_ = nullptr;
  void* caller_ = nullptr;
};

#else

class Fiber {
 public:
  void start(std::function<void()> function) {
    if (!stack_) stack_ = std::make_unique_for_overwrite<std::byte[]>(size);
    function_ = std::move(function);
    getcontext(&own_);
    own_.uc_stack.ss_sp = stack_.get();
    own_.uc_stack.ss_size = size;
    own_.uc_link = nullptr;
    makecontext(&own_, &enter, 0);
  }

  void resume() {
    current() = this;
    swapcontext(&caller_, &own_);
  }

  void pause() { swapcontext(&own_, &caller_); }

 private:
  static constexpr size_t size = 64 << 10;

  static Fiber*& current() {
    static thread_local Fiber* fiber = nullptr;
    return fiber;
  }

  static void enter() {
    Fiber* self = current();
    self->function_();
    self->pause();
  }

  std::unique_ptr<std::byte[]> stack_;
  std::function<void()> function_;
  ucontext_t own_, caller_;
};

#endif

}  // namespace colloc
