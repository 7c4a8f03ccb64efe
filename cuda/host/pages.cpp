#include "pages.h"

#include <sys/mman.h>

#include <new>

namespace peft4j::host {

Pages::Pages(size_t bytes) : size_(bytes) {
  if (bytes == 0) {
    data_ = nullptr;
    return;
  }
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    throw std::bad_alloc();
  }
  data_ = static_cast<char*>(memory);
}

Pages::~Pages() {
  if (data_ != nullptr) {
    munmap(data_, size_);
  }
}

}  // namespace peft4j::host
