#include "two_devices.h"

#include <ATen/ATen.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <dlfcn.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <mutex>

#include "../cuda_library.h"
#include "../library_product.h"
#include "check.h"

namespace peft4j::test {
namespace {

// ---- the devices: which is current, and their streams

constexpr at::DeviceIndex kDevices = 2;
thread_local at::DeviceIndex current = 0;

struct Devices final : c10::impl::DeviceGuardImplInterface {
  at::DeviceType type() const override { return at::kCUDA; }
  at::Device exchangeDevice(at::Device to) const override {
    const at::Device before = getDevice();
    current = to.index();
    return before;
  }
  at::Device getDevice() const override { return {at::kCUDA, current}; }
  void setDevice(at::Device) const override {
  }  // no guard calls it, but autograd's threads, once, with their own device
  void uncheckedSetDevice(at::Device to) const noexcept override { current = to.index(); }
  c10::Stream getStream(at::Device device) const override { return c10::Stream(c10::Stream::UNSAFE, device, 0); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  void* getStreamNativeHandle(const c10::Stream stream) const override {
    return reinterpret_cast<void*>(uintptr_t{0x1000} + static_cast<uintptr_t>(stream.device_index()));
  }
  c10::Stream getDefaultStream(at::Device device) const override { return getStream(device); }
  at::DeviceIndex deviceCount() const noexcept override { return kDevices; }
  // Work is done when a call returns: nothing waits.
  void record(void**, const c10::Stream&, at::DeviceIndex, c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
};

C10_REGISTER_GUARD_IMPL(CUDA, Devices)

std::atomic<bool> present = false;

// What autograd asks.
struct Hooks final : at::CUDAHooksInterface {
  bool hasCUDA() const override { return present; }
  bool isBuilt() const override { return present; }
  bool isAvailable() const override { return present; }
  bool hasPrimaryContext(at::DeviceIndex) const override { return true; }
  at::DeviceIndex deviceCount() const override { return kDevices; }
  void init() const override {}
};

[[maybe_unused]] const bool registered = [] {
  at::CUDAHooksRegistry()->Register("CUDAHooks", [](at::CUDAHooksArgs) -> std::unique_ptr<at::CUDAHooksInterface> {
    return std::make_unique<Hooks>();
  });
  return true;
}();

// ---- the operations: the CPU's, on the same memory

void release(void* held) {
  delete static_cast<c10::Storage*>(held);
}

// The same memory as another device's, kept alive.
c10::Storage on(at::Device device, const c10::Storage& storage) {
  return {c10::Storage::use_byte_size_t(), storage.nbytes(),
          c10::DataPtr(storage.mutable_data(), new c10::Storage(storage), &release, device)};
}

at::Tensor view_of(const c10::Storage& storage, c10::DispatchKey key, const at::Tensor& like) {
  at::Tensor t = at::detail::make_tensor<at::TensorImpl>(c10::Storage(storage), c10::DispatchKeySet(key), like.dtype());
  t.unsafeGetTensorImpl()->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  return t;
}

class Operands {
 public:
  c10::IValue to_host(const c10::IValue& value) {
    if (value.isTensor() && value.toTensor().defined() && value.toTensor().is_cuda()) {
      return host(value.toTensor());
    }
    if (value.isTensor()) {
      others_.push_back(value.toTensor());
      return value;
    }
    if (value.isDevice() && value.toDevice().is_cuda()) {
      device_ = value.toDevice().has_index() ? value.toDevice() : at::Device(at::kCUDA, current);
      return at::Device(at::kCPU);
    }
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& t : value.toTensorVector()) {
        list.push_back(to_host(t).toTensor());
      }
      return list;
    }
    if (value.isList() && value.toListRef().size() > 0 && value.toListRef()[0].isTensor()) {  // of optional tensors
      c10::List<std::optional<at::Tensor>> list;
      for (const c10::IValue& t : value.toListRef()) {
        list.push_back(t.isNone() ? std::optional<at::Tensor>() : std::optional(to_host(t).toTensor()));
      }
      return list;
    }
    return value;
  }

  c10::IValue to_device(const c10::IValue& value) const {
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& t : value.toTensorVector()) {
        list.push_back(to_device(t).toTensor());
      }
      return list;
    }
    if (!value.isTensor() || !value.toTensor().defined()) {
      return value;
    }
    const at::Tensor result = value.toTensor();
    for (const Pair& pair : pairs_) {
      if (pair.host.is_same(result)) {
        return pair.device;
      }
      if (pair.host.storage().data() == result.storage().data() && result.storage().data() != nullptr) {
        return view_of(pair.device.storage(), c10::DispatchKey::CUDA, result);
      }
    }
    const bool given =
        std::any_of(others_.begin(), others_.end(), [&](const at::Tensor& t) { return t.is_same(result); });
    return given ? result : view_of(on(*device_, result.storage()), c10::DispatchKey::CUDA, result);
  }

 private:
  struct Pair {
    at::Tensor device, host;
  };

  at::Tensor host(const at::Tensor& t) {
    for (const Pair& pair : pairs_) {
      if (pair.device.is_same(t)) {
        return pair.host;
      }
    }
    device_ = device_.value_or(t.device());
    pairs_.push_back({t, view_of(on(at::kCPU, t.storage()), c10::DispatchKey::CPU, t)});
    return pairs_.back().host;
  }

  std::optional<at::Device> device_;  // of the results
  std::vector<Pair> pairs_;
  std::vector<at::Tensor> others_;  // which were the host's before
};

void by_the_host(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  const size_t begin = stack->size() - operation.schema().arguments().size();
  Operands operands;
  for (size_t i = begin; i < stack->size(); ++i) {
    (*stack)[i] = operands.to_host((*stack)[i]);
  }
  if (operation.operator_name().name == "aten::mm") {  // now it is one on a CPU
    (*stack)[begin] = library::left_operand((*stack)[begin].toTensor());
  }
  operation.callBoxed(stack);
  for (size_t i = begin; i < stack->size(); ++i) {
    (*stack)[i] = operands.to_device((*stack)[i]);
  }
}

TORCH_LIBRARY_IMPL(_, CUDA, all) {
  all.fallback(torch::CppFunction::makeFromBoxedFunction<&by_the_host>());
}

TORCH_LIBRARY_IMPL(aten, CUDA, operations) {  // libtorch's one for every device looks for kernels by device
  operations.impl("copy_", torch::CppFunction::makeFromBoxedFunction<&by_the_host>());
}

// ---- the library's functions

struct Record {
  std::mutex mutex;
  at::Device device = at::kCPU;  // that calls should be for
  std::vector<std::string> wrong;
  std::set<std::string> called;
} record;

void note(const char* function, const std::optional<void*>& stream) {
  const std::lock_guard<std::mutex> lock(record.mutex);
  record.called.insert(function);
  if (current != record.device.index()) {
    record.wrong.push_back(text(function, ": the current device is cuda:", static_cast<int>(current),
                                ", its tensors are on ", record.device));
  }
  if (stream && *stream != stream_of(record.device)) {
    record.wrong.push_back(text(function, ": got ", *stream == nullptr ? "the null stream" : "another device's stream",
                                " for tensors on ", record.device));
  }
}

template <class Name, class Function>
struct Recorded;

template <class Name, class Result, class... Parameters>
struct Recorded<Name, Result (*)(Parameters...)> {
  static inline Result (*real)(Parameters...) = nullptr;

  static Result call(Parameters... parameters) {
    std::optional<void*> stream;
    if constexpr (CudaFunction<Result (*)(Parameters...)>::kLaunches) {
      stream = std::get<sizeof...(Parameters) - 1>(std::tie(parameters...));
    }
    note(Name::kName, stream);
    return real(parameters...);
  }
};

#define PEFT4J_NAME(name)                       \
  struct name##_name {                          \
    static constexpr const char* kName = #name; \
  };
PEFT4J_CUDA_FUNCTIONS(PEFT4J_NAME)
#undef PEFT4J_NAME

}  // namespace

void* stream_of(at::Device device) {
  return Devices().getStreamNativeHandle(Devices().getStream(device));
}

RecordedCalls::RecordedCalls(at::Device device) {
  present = true;
  record.device = device;
  record.wrong.clear();
  record.called.clear();
  void* library = dlopen(std::getenv("PEFT4J_CUDA_HOST_LIBRARY"), RTLD_NOW | RTLD_NOLOAD);
  auto& kernels = const_cast<CudaKernels&>(*cuda_kernels(at::empty({}, at::kFloat)));  // load_cuda makes new ones
#define PEFT4J_RECORD(name)                                                                                   \
  {                                                                                                           \
    using Function = decltype(&peft4j_cuda_##name);                                                           \
    Recorded<name##_name, Function>::real = reinterpret_cast<Function>(dlsym(library, "peft4j_cuda_" #name)); \
    kernels.name = &Recorded<name##_name, Function>::call;                                                    \
  }
  PEFT4J_CUDA_FUNCTIONS(PEFT4J_RECORD)
#undef PEFT4J_RECORD
}

RecordedCalls::~RecordedCalls() {
  present = false;
  load_cuda(std::getenv("PEFT4J_CUDA_HOST_LIBRARY"));
}

std::vector<std::string> RecordedCalls::wrong() const {
  const std::lock_guard<std::mutex> lock(record.mutex);
  return record.wrong;
}

std::set<std::string> RecordedCalls::never_called() const {
  const std::lock_guard<std::mutex> lock(record.mutex);
  std::set<std::string> names;
#define PEFT4J_INSERT(name) names.insert(#name);
  PEFT4J_CUDA_FUNCTIONS(PEFT4J_INSERT)
#undef PEFT4J_INSERT
  for (const std::string& name : record.called) {
    names.erase(name);
  }
  return names;
}

void RecordedCalls::call_directly(void* stream) {
  Recorded<gelu_forward_name, decltype(&peft4j_cuda_gelu_forward)>::call(0, 0, nullptr, nullptr, stream);
}

}  // namespace peft4j::test
