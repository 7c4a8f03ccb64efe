#pragma once
/* The state of the launch that runs: inside the executor only. */
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "executor.h"
#include "fiber.h"
#include "launch_bounds.h"
#include "memory.h"
#include "sm90.h"

namespace peft4j::host {

struct Copy {  // of cp.async
  char* to;
  const char* from;
  int bytes, valid;
  Site site;
};

enum class State { kReady, kInWarp, kAtBarrier, kAtMbarrier, kForRegisters, kDone };

struct Mbarrier;

struct Wait {
  const char* name = nullptr;
  Site site;
  uint32_t mask = 0;
  int barrier = 0, barrier_threads = 0;  // barrier 0: __syncthreads
  const Mbarrier* mbarrier = nullptr;
  int parity = 0;
  const void* in = nullptr;
  void* out = nullptr;
};

struct Thread : Wait {
  int number;
  uint3 index;
  State state;
  int asleep;  // for so many rounds more, while others run
  Fiber* fiber;
  // what is ordered before it: accesses by anyone before block_clock, by its warp before warp_clock
  uint32_t block_clock, warp_clock;
  std::vector<uint32_t> known;  // and by each thread, the last one: by bulk copies, before this (empty: nothing else)
  uint32_t async_fence;  // its own writes before this are seen by bulk copies and wgmma
  std::vector<Copy> uncommitted;
  std::deque<std::vector<Copy>> committed;

  // Replaces all of what it waited for before.
  void begin_wait(State for_what, const Wait& wait) {
    state = for_what;
    static_cast<Wait&>(*this) = wait;
  }
};

struct BulkCopy {  // of tma_load
  char* to;
  TensorMap map;
  int column, row;
  Thread* issuer;
  Site site;
};

struct Mbarrier {
  int arrivals, pending;  // of the present phase
  int64_t announced, issued;  // bytes
  uint32_t phase;
  uint64_t initialised;  // stamp
  int initialiser;
  bool fenced;
  std::vector<BulkCopy> copies;
  std::vector<uint32_t> releasing, released;  // as Thread::known: by the present phase, by the one before
};
std::string lacks(const Mbarrier& barrier);

struct Wgmma {  // of a warp
  float* d;  // of the first lane: names the accumulators
  Product product;
  Site site;
  std::vector<const char*> reads = {};  // 16 bytes each
  struct Registers {  // of a, where it is not in shared memory: where a lane has them, and what they must remain
    const uint32_t* at;
    std::array<uint32_t, 4> bits;
  };
  std::vector<Registers> registers = {};  // of each lane
};

struct Accumulators {
  float* lane[32];
  std::vector<float> values;  // what they will be
  int in_flight = 0;  // products
};

struct Warp {
  bool fenced = false;
  size_t products = 0;  // issued
  std::map<const float*, Accumulators> accumulators;
  std::vector<Wgmma> open;
  std::deque<std::vector<Wgmma>> committed;
};

// Of set_max_registers, as the first warp of a warpgroup came to it.
struct RegisterChange {
  int registers;
  Site site;
};
struct WarpRegisters {
  int now;  // of each thread
  int wanted = 0;  // by a warp that waits until others have given back so many
  size_t changes = 0;
};

struct Launch {
  std::string kernel;
  dim3 grid, block;
  LaunchBounds bounds;
  uint3 block_index;
  uint32_t first_serial, serial;  // of the block that runs; blocks of all launches are counted
  uint32_t clock;  // of the block: counts barriers
  int waiting[16];  // threads at each barrier
  bool has_named_barriers;  // has come to one
  std::map<const uint64_t*, Mbarrier> mbarriers;
  std::vector<Warp> warps;
  std::vector<std::vector<Wgmma>> products;  // of each warpgroup
  std::vector<WarpRegisters> registers;  // of each warp
  std::vector<std::vector<RegisterChange>> register_changes;  // of each warpgroup
  int free_registers;  // that warps have given back
  std::vector<Thread> threads;
  Thread* current = nullptr;
  std::unique_ptr<Region> shared;
  std::string failure;
  std::mt19937_64 random;
  int until_sleep = 1;
};

// What a waiting warp lacks.
std::string lacks_registers(const WarpRegisters& warp);

// Called where a kernel touches memory or a barrier: the thread may sleep there, while the others of its warp go on.
void perhaps_sleep();

// At the end of a block.
void expect_no_copies(const Launch& launch);
void expect_no_products(const Launch& launch);
void expect_whole_register_changes(const Launch& launch);

extern Launch* running;  // null outside of a launch

void raise(std::vector<uint32_t>& known, const std::vector<uint32_t>& by);
// What the thread did, and what it knows, is handed on.
void release(const Thread& self, std::vector<uint32_t>& to);

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
