#pragma once
#include <cstddef>

namespace peft4j {

/*
Memory for tensors. Small blocks come from malloc. Large ones (from kLargeBlock on) are mapped by themselves in huge
pages, and kept for the next tensor of their size class when they are given back: a training step frees and takes the same
hundreds of megabytes again and again, and malloc would either return them to the system each time (page faults) or keep
them in pieces that fit nothing (the lengths of packed batches differ).

At most kMostKept bytes are kept unused; the oldest go first. Safe from many threads.
*/
constexpr size_t kLargeBlock = size_t{1} << 20;
constexpr size_t kMostKept = size_t{128} << 20;

// At least `bytes` bytes, aligned to a cache line; null if the system has no more.
void* take_block(size_t bytes);

// Gives back what take_block(bytes) gave, with the same bytes.
void give_block(void* block, size_t bytes);

}  // namespace peft4j
