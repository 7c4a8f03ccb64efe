#include "devices.h"

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/util/Exception.h>

#include <atomic>

#include "host_devices.h"
#include "memory.h"

namespace peft4j::host_devices {
namespace {

thread_local at::DeviceIndex current = 0;
std::atomic<bool> plugged = false;

struct Devices final : c10::impl::DeviceGuardImplInterface {
  at::DeviceType type() const override { return at::kCUDA; }
  at::Device exchangeDevice(at::Device to) const override {
    const at::Device before = getDevice();
    uncheckedSetDevice(to);
    return before;
  }
  at::Device getDevice() const override { return {at::kCUDA, current}; }
  void setDevice(at::Device) const override {
  }  // no guard calls it, but autograd's threads, once, with their own device
  void uncheckedSetDevice(at::Device to) const noexcept override { current = to.index(); }
  c10::Stream getStream(at::Device device) const override { return c10::Stream(c10::Stream::UNSAFE, device, 0); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  void* getStreamNativeHandle(const c10::Stream stream) const override { return stream_of(stream.device_index()); }
  c10::Stream getDefaultStream(at::Device device) const override { return getStream(device); }
  at::DeviceIndex deviceCount() const noexcept override { return kCards; }
  // Work is done when a call returns: nothing waits.
  void record(void**, const c10::Stream&, at::DeviceIndex, c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void synchronizeEvent(void*) const override {}
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void synchronizeDevice(at::DeviceIndex) const override {}
};

C10_REGISTER_GUARD_IMPL(CUDA, Devices)

struct Hooks final : at::CUDAHooksInterface {
  bool hasCUDA() const override { return plugged; }
  bool isBuilt() const override { return plugged; }
  bool isAvailable() const override { return plugged; }
  bool hasPrimaryContext(at::DeviceIndex) const override { return true; }
  at::DeviceIndex deviceCount() const override { return plugged ? kCards : at::DeviceIndex{0}; }
  int getNumGPUs() const override { return deviceCount(); }
  at::DeviceIndex current_device() const override { return current; }
  at::DeviceIndex getCurrentDevice() const override { return current; }
  void init() const override {}
  void deviceSynchronize(at::DeviceIndex) const override {}
  bool isPinnedPtr(const void* data) const override { return is_pinned(data); }
  at::Allocator* getPinnedMemoryAllocator() const override { return pinned_memory(); }
};

[[maybe_unused]] const bool registered = [] {
  at::CUDAHooksRegistry()->Register("CUDAHooks", [](at::CUDAHooksArgs) -> std::unique_ptr<at::CUDAHooksInterface> {
    return std::make_unique<Hooks>();
  });
  return true;
}();

}  // namespace

at::DeviceIndex current_card() {
  return current;
}

void* stream_of(at::DeviceIndex card) {
  return reinterpret_cast<void*>(uintptr_t{0x1000} + static_cast<uintptr_t>(card));
}

void plug_in() {
  install_memory();
  plugged = true;
  TORCH_CHECK(at::hasCUDA(), "libtorch has asked about CUDA before the cards were there");
}

void unplug() {
  plugged = false;
}

}  // namespace peft4j::host_devices
