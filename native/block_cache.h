#pragma once
#include <cstddef>

namespace peft4j {

/*
Memory for tensors. Small blocks come from malloc. Large ones (from kLargeBlock on) are mapped by themselves in huge
pages, and kept for the next tensor of their size class when they are given back: a training step frees and takes the same
hundreds of megabytes again and again, and malloc would either return them to the system each time (page faults) or keep
them in pieces that fit nothing (the lengths of packed batches differ).

Kept are at most as many bytes as were in use at once beyond those in use now (so the process never holds more than it once
needed), or kMostKept; the oldest go first. A tensor may get a kept block that is up to a quarter larger: lengths differ from
batch to batch. free_kept_blocks() gives all of them back. Safe from many threads.
*/
constexpr size_t kLargeBlock = size_t{1} << 20;
constexpr size_t kMostKept = size_t{128} << 20;

struct BlockOfMemory {
  void* data;   // aligned to a cache line; null if the system has no more
  size_t size;  // at least what was wanted
};

BlockOfMemory take_block(size_t bytes);
void give_block(BlockOfMemory block);

}  // namespace peft4j
