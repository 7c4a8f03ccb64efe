#pragma once
/* Zeroed memory, of which only pages that are touched take any: an allocation may be larger than the machine. */
#include <cstddef>

namespace peft4j::host {

class Pages {
 public:
  explicit Pages(size_t bytes);
  ~Pages();
  Pages(const Pages&) = delete;
  char* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  char* data_;
  size_t size_;
};

}  // namespace peft4j::host
