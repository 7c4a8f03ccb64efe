#include "device_buffer.h"

#include "check.h"
#include "device/cuda.h"

namespace peft4j::cuda::test {

#ifdef __CUDACC__

namespace {

constexpr size_t kGuard = 256;
constexpr unsigned char kMark = 0xa5;

void require(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    fail(text(what, ": ", cudaGetErrorString(error)));
  }
}

}  // namespace

struct DeviceMemory::State {
  char* begin = nullptr;
  size_t bytes;
  std::string name;
};

DeviceMemory::DeviceMemory(size_t bytes, const std::string& name) : state_(new State{nullptr, bytes, name}) {
  require(cudaMalloc(&state_->begin, bytes + 2 * kGuard), "cudaMalloc");
  require(cudaMemset(state_->begin, kMark, bytes + 2 * kGuard), "cudaMemset");
  require(cudaMemset(state_->begin + kGuard, 0xff, bytes), "cudaMemset");
}

DeviceMemory::~DeviceMemory() {
  cudaFree(state_->begin);
}

void* DeviceMemory::data() const {
  return state_->begin + kGuard;
}

void DeviceMemory::upload(const void* from, size_t bytes, size_t offset) const {
  require(cudaMemcpy(static_cast<char*>(data()) + offset, from, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
}

void DeviceMemory::download(void* to, size_t bytes, size_t offset) const {
  require(cudaDeviceSynchronize(), state_->name.c_str());
  require(cudaMemcpy(to, static_cast<char*>(data()) + offset, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
  unsigned char guards[2 * kGuard];
  require(cudaMemcpy(guards, state_->begin, kGuard, cudaMemcpyDeviceToHost), "cudaMemcpy");
  require(cudaMemcpy(guards + kGuard, state_->begin + kGuard + state_->bytes, kGuard, cudaMemcpyDeviceToHost),
          "cudaMemcpy");
  for (size_t i = 0; i < sizeof guards; ++i) {
    if (guards[i] != kMark) {
      fail(text(state_->name, ": guard byte ", i, " of 256 before and 256 after it was written"));
    }
  }
}

#else

struct DeviceMemory::State {
  host::Region region;
};

DeviceMemory::DeviceMemory(size_t bytes, const std::string& name) : state_(new State{{bytes, name, false}}) {}
DeviceMemory::~DeviceMemory() = default;
void* DeviceMemory::data() const {
  return state_->region.data();
}

void DeviceMemory::upload(const void* from, size_t bytes, size_t offset) const {
  state_->region.upload(from, bytes, offset);
}

void DeviceMemory::download(void* to, size_t bytes, size_t offset) const {
  state_->region.download(to, bytes, offset);  // a launch that wrote beside it has failed
}

#endif

}  // namespace peft4j::cuda::test
