#include "block_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <iterator>
#include <mutex>
#include <vector>

#include "peft4j.h"

namespace peft4j {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

// Eight classes for each power of two: at most an eighth is wasted, and batches of nearly the same length share blocks.
size_t class_of(size_t bytes) {
  size_t step = kLargeBlock >> 3;
  while (step * 16 < bytes) {
    step *= 2;
  }
  return (bytes + step - 1) / step * step;
}

struct BlockCache {
  std::mutex mutex;
  std::deque<BlockOfMemory> blocks;  // oldest first
  size_t kept = 0;                   // bytes of blocks
  size_t used = 0, most_used = 0;    // bytes given out, now and ever

  // The newest of the size, which is warm, else the smallest that is hardly larger; null if there is none.
  BlockOfMemory take(size_t size) {
    auto best = blocks.rend();
    for (auto it = blocks.rbegin(); it != blocks.rend(); ++it) {
      if (it->size >= size && it->size <= size + size / 4 && (best == blocks.rend() || it->size < best->size)) {
        best = it;
        if (it->size == size) {
          break;
        }
      }
    }
    if (best == blocks.rend()) {
      return {nullptr, size};
    }
    const BlockOfMemory block = *best;
    blocks.erase(std::next(best).base());
    kept -= block.size;
    return block;
  }

  // Those that are too many.
  std::vector<BlockOfMemory> surplus(size_t allowed) {
    std::vector<BlockOfMemory> oldest;
    while (kept > allowed) {
      oldest.push_back(blocks.front());
      blocks.pop_front();
      kept -= oldest.back().size;
    }
    return oldest;
  }

  size_t allowed() const { return std::max(most_used - used, kMostKept); }
};

// Never destroyed: tensors may be freed while the process ends.
BlockCache& cache() {
  static BlockCache* instance = new BlockCache;
  return *instance;
}

void unmap(const std::vector<BlockOfMemory>& blocks) {
  for (const BlockOfMemory& block : blocks) {
    munmap(block.data, block.size);
  }
}

void* map_block(size_t size) {
  // One huge page more than needed, so that the block can begin at one; the ends are given back at once.
  const size_t room = size + kHugePage;
  void* mapped = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    return nullptr;
  }
  const uintptr_t begin = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t block = (begin + kHugePage - 1) / kHugePage * kHugePage;
  if (block > begin) {
    munmap(mapped, block - begin);
  }
  if (block + size < begin + room) {
    munmap(reinterpret_cast<void*>(block + size), begin + room - block - size);
  }
  madvise(reinterpret_cast<void*>(block), size, MADV_HUGEPAGE);  // a wish: without it only page faults are slower
  return reinterpret_cast<void*>(block);
}

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kUseCache = false;  // the sanitizer watches malloc's blocks only
#else
constexpr bool kUseCache = true;
#endif

}  // namespace

BlockOfMemory take_block(size_t bytes) {
  if (!kUseCache || bytes < kLargeBlock) {
    void* block = nullptr;
    return {posix_memalign(&block, 64, bytes) == 0 ? block : nullptr, bytes};
  }
  BlockCache& all = cache();
  BlockOfMemory block;
  std::vector<BlockOfMemory> surplus;
  {
    std::lock_guard<std::mutex> lock(all.mutex);
    block = all.take(class_of(bytes));
    all.used += block.size;
    all.most_used = std::max(all.most_used, all.used);
    surplus = all.surplus(all.allowed());
  }
  unmap(surplus);
  if (block.data == nullptr) {
    block.data = map_block(block.size);
    if (block.data == nullptr) {  // what is kept may be what is missing
      free_kept_blocks();
      block.data = map_block(block.size);
    }
  }
  if (block.data == nullptr) {
    std::lock_guard<std::mutex> lock(all.mutex);
    all.used -= block.size;
  }
  return block;
}

void give_block(BlockOfMemory block) {
  if (!kUseCache || block.size < kLargeBlock) {
    std::free(block.data);
    return;
  }
  BlockCache& all = cache();
  std::vector<BlockOfMemory> surplus;
  {
    std::lock_guard<std::mutex> lock(all.mutex);
    all.blocks.push_back(block);
    all.kept += block.size;
    all.used -= block.size;
    surplus = all.surplus(all.allowed());
  }
  unmap(surplus);
}

void free_kept_blocks() {
  BlockCache& all = cache();
  std::vector<BlockOfMemory> surplus;
  {
    std::lock_guard<std::mutex> lock(all.mutex);
    all.most_used = all.used;
    surplus = all.surplus(0);
  }
  unmap(surplus);
}

int64_t kept_bytes() {
  BlockCache& all = cache();
  std::lock_guard<std::mutex> lock(all.mutex);
  return static_cast<int64_t>(all.kept);
}

}  // namespace peft4j
