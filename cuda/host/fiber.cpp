#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#if !defined(__x86_64__)
#error "the host executor switches stacks by hand and knows x86-64 only: add peft4j_switch_stack for this processor"
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// peft4j_switch_stack(void** from, void* to): keeps the registers that a call must keep, and goes on where `to` was left.
asm(R"(
.text
.globl peft4j_switch_stack
.hidden peft4j_switch_stack
.type peft4j_switch_stack,@function
peft4j_switch_stack:
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
.size peft4j_switch_stack,.-peft4j_switch_stack
)");
extern "C" void peft4j_switch_stack(void** from, void* to);

namespace peft4j::host {

Fiber* Fiber::running_ = nullptr;

Fiber::Fiber() {
  constexpr size_t kGuard = 4096;
  void* memory = mmap(nullptr, kStack + kGuard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kGuard, PROT_NONE) != 0) {
    throw std::bad_alloc();
  }
  stack_ = static_cast<char*>(memory) + kGuard;
}

Fiber::~Fiber() {
  munmap(stack_ - 4096, kStack + 4096);
}

void Fiber::start(void (*body)()) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack_, kStack);  // a launch that failed left its frames
  fake_stack_ = nullptr;
#endif
  body_ = body;
  auto* top = reinterpret_cast<void**>(stack_ + kStack);
  *--top = nullptr;  // aligns the stack as a call would, and ends it
  *--top = reinterpret_cast<void*>(&Fiber::entered);
  for (int i = 0; i < 6; ++i) {
    *--top = nullptr;
  }
  at_ = top;
}

void Fiber::entered() {
  Fiber* self = running_;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &self->scheduler_stack_, &self->scheduler_size_);
#endif
  self->body_();
}

void Fiber::resume() {
  running_ = this;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&scheduler_fake_stack_, stack_, kStack);
#endif
  peft4j_switch_stack(&scheduler_, at_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(scheduler_fake_stack_, nullptr, nullptr);
#endif
}

void Fiber::leave([[maybe_unused]] bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_stack_, scheduler_stack_, scheduler_size_);
#endif
  peft4j_switch_stack(&at_, scheduler_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack_, &scheduler_stack_, &scheduler_size_);
#endif
}

}  // namespace peft4j::host
