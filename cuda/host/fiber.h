#pragma once
/* A thread of the executor: a stack of its own that is resumed and left by hand. */
#include <cstddef>

namespace peft4j::host {

class Fiber {
 public:
  static constexpr size_t kStack = 128 * 1024;

  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;

  void start(void (*body)());  // body must not return; it is entered by the next resume
  void resume();               // from the scheduler, until leave
  void leave(bool for_good);   // from the fiber, back to the scheduler

  const char* stack() const { return stack_; }  // its lowest address

 private:
  char* stack_;
  void* at_ = nullptr;         // stack pointers while not running
  void* scheduler_ = nullptr;
  void* fake_stack_ = nullptr;            // the address sanitizer's
  void* scheduler_fake_stack_ = nullptr;
  const void* scheduler_stack_ = nullptr;
  size_t scheduler_size_ = 0;
  void (*body_)() = nullptr;
  static void entered();
  static Fiber* running_;
};

}  // namespace peft4j::host
