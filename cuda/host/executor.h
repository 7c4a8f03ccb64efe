#pragma once
/*
Runs a grid on the CPU and fails where a card would go on with wrong numbers.

Blocks run one after another; a thread is a fiber, resumed in an order drawn from a seed (PEFT4J_HOST_SEED; printed with every
failure), and runs to its next warp collective or barrier, or falls asleep on the way, between any two accesses to memory: a card's
threads do not keep step either. So nothing runs at the same time, and a failure repeats.

    launch        a block has at most the threads of the kernel's __launch_bounds__, and registers for all of them.

    collectives   complete when every lane of the mask is at the same line with the same mask; barriers, when every thread of the
                  block is at the same line. If nothing can go on, the report lists who waits where and who has left.
    memory        see memory.h: the accesses of a kernel are checked one by one.
    cp.async      the copy is made at the wait, from global memory as it is then; until then its destination is in flight and
                  may not be read or written.
    mma, ldmatrix the documented fragments (device/ptx.h), products and sums in float32: a card's order of addition is not
                  documented, so compare with a tolerance.
    sm_90a        barriers in shared memory, bulk copies, wgmma: see sm90.h.

A failure ends the launch; run_grid gives the report, with kernel, block, thread and source line.
One launch at a time: the executor is not for several threads.
*/
#include <source_location>
#include <string>

#include "types.h"

namespace peft4j::host {

using Site = std::source_location;

// Calls call(closure) once for each thread of the grid. Empty, or the report of the first failure. entry: the kernel itself.
std::string run_grid(const char* kernel, const void* entry, dim3 grid, dim3 block, size_t shared_bytes,
                     void (*call)(const void*), const void* closure);

uint64_t set_seed(uint64_t seed);  // gives what it was

// What follows is called by kernels only. Indexes come by value: a kernel may not read the executor's memory.
uint3 thread_index();
uint3 block_index();
dim3 block_size();
dim3 grid_size();
char* shared_memory();
int lane();

void sync_threads(Site site);
void named_barrier(int id, int threads, Site site);

// Each lane of the mask brings `in` and gets `out`; combine runs once, when all are there. in[i] is null for other lanes.
struct Lanes {
  uint32_t mask;
  const void* in[32];
  void* out[32];
  int thread[32];
  Site site;
};
void warp_collective(const char* name, uint32_t mask, const void* in, void* out, void (*combine)(Lanes&),
                     bool orders_memory, Site site);

// The value of lane `source`, or below 0 the own one.
uint64_t shuffle_bits(const char* name, uint32_t mask, uint64_t value, int source, Site site);
uint32_t vote(const char* name, uint32_t mask, bool predicate, Site site);

void mma_m16n8k16(float* d, const uint32_t* a, const uint32_t* b, bool bf16, Site site);
void mma_m16n8k8(float* d, const float* a, const float* b, Site site);
void ldmatrix(uint32_t* r, int n, bool transposed, const void* row, Site site);

void cp_async(void* to, const void* from, int bytes, int valid, Site site);
void cp_async_commit();
void cp_async_wait(int open);

// Ends the launch with this report. Called below the functions above only: they keep the exception from the kernel's frames.
[[noreturn]] void fail(const std::string& message, const std::string& where = "");
std::string where(Site site);

}  // namespace peft4j::host
