#pragma once
/* The state of the launch that runs: inside the executor only. */
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "executor.h"
#include "fiber.h"
#include "memory.h"

namespace peft4j::host {

struct Copy {  // of cp.async
  char* to;
  const char* from;
  int bytes, valid;
  Site site;
};

enum class State { kReady, kInWarp, kAtBarrier, kDone };

struct Thread {
  int number;
  uint3 index;
  State state;
  Fiber* fiber;
  // what it waits for
  const char* name;
  Site site;
  uint32_t mask;
  int barrier, barrier_threads;  // barrier 0: __syncthreads
  const void* in;
  void* out;
  // what is ordered before it: accesses by anyone before block_clock, by its warp before warp_clock
  uint32_t block_clock, warp_clock;
  std::vector<Copy> uncommitted;
  std::deque<std::vector<Copy>> committed;
};

struct Launch {
  std::string kernel;
  dim3 grid, block;
  uint3 block_index;
  uint32_t first_serial, serial;  // of the block that runs; blocks of all launches are counted
  uint32_t clock;                 // of the block: counts barriers
  int waiting[16];                // threads at each barrier
  std::vector<Thread> threads;
  Thread* current = nullptr;
  std::unique_ptr<Region> shared;
  std::string failure;
};

extern Launch* running;  // null outside of a launch

struct Failure {
  std::string message;
};
[[noreturn]] void abandon();  // the running thread, after a failure

// What kernels call runs inside of this: the kernel's own frames know nothing of exceptions.
template <class Body>
void guarded(const Body& body) {
  try {
    body();
    return;
  } catch (const Failure& failure) {
    running->failure = failure.message;
  }
  abandon();
}

}  // namespace peft4j::host
