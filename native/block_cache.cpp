#include "block_cache.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <deque>
#include <mutex>

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

struct Kept {
  void* block;
  size_t size;
};

struct Cache {
  std::mutex mutex;
  std::deque<Kept> blocks;  // oldest first
  size_t bytes = 0;
};

// Never destroyed: tensors may be freed while the process ends.
Cache& cache() {
  static Cache* instance = new Cache;
  return *instance;
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

void* take_block(size_t bytes) {
  if (!kUseCache || bytes < kLargeBlock) {
    void* block = nullptr;
    return posix_memalign(&block, 64, bytes) == 0 ? block : nullptr;
  }
  const size_t size = class_of(bytes);
  {
    Cache& kept = cache();
    std::lock_guard<std::mutex> lock(kept.mutex);
    for (auto it = kept.blocks.rbegin(); it != kept.blocks.rend(); ++it) {  // the newest is warm
      if (it->size == size) {
        void* block = it->block;
        kept.blocks.erase(std::next(it).base());
        kept.bytes -= size;
        return block;
      }
    }
  }
  return map_block(size);
}

void give_block(void* block, size_t bytes) {
  if (!kUseCache || bytes < kLargeBlock) {
    std::free(block);
    return;
  }
  const size_t size = class_of(bytes);
  Cache& kept = cache();
  std::unique_lock<std::mutex> lock(kept.mutex);
  kept.blocks.push_back({block, size});
  kept.bytes += size;
  while (kept.bytes > kMostKept) {
    const Kept oldest = kept.blocks.front();
    kept.blocks.pop_front();
    kept.bytes -= oldest.size;
    lock.unlock();
    munmap(oldest.block, oldest.size);
    lock.lock();
  }
}

}  // namespace peft4j
