#pragma once
/*
Memory that kernels work on, for tests: on a card from cudaMalloc, on the host the executor's. Fresh bytes are NaN in every
format (on the host a read of them is an error); 256 guard bytes before and after must be intact at each download.
*/
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace peft4j::cuda::test {

class DeviceMemory {
 public:
  DeviceMemory(size_t bytes, const std::string& name);
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  void* data() const;
  void upload(const void* from, size_t bytes, size_t offset = 0) const;
  void download(void* to, size_t bytes, size_t offset = 0) const;  // waits for the card; fails if a guard byte changed

 private:
  struct State;
  std::unique_ptr<State> state_;
};

template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t n, const std::string& name = "buffer") : n_(n), memory_(n * sizeof(T), name) {}
  explicit DeviceBuffer(const std::vector<T>& values, const std::string& name = "buffer")
      : DeviceBuffer(values.size(), name) {
    memory_.upload(values.data(), n_ * sizeof(T));
  }
  T* data() const { return static_cast<T*>(memory_.data()); }
  size_t size() const { return n_; }
  std::vector<T> download() const { return download(0, n_); }
  std::vector<T> download(size_t first, size_t n) const {
    std::vector<T> values(n);
    memory_.download(values.data(), n * sizeof(T), first * sizeof(T));
    return values;
  }
  void upload(const T* values, size_t first, size_t n) const {
    memory_.upload(values, n * sizeof(T), first * sizeof(T));
  }

 private:
  size_t n_;
  DeviceMemory memory_;
};

}  // namespace peft4j::cuda::test
