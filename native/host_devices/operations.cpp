/* libtorch's operations on tensors of a card: the CPU's, on the same memory. */
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <c10/core/CPUAllocator.h>
#include <torch/library.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "../library_product.h"
#include "devices.h"
#include "host_devices.h"
#include "memory.h"
#include "operations.h"

namespace peft4j::host_devices {
namespace {

void release(void* held) {
  delete static_cast<c10::Storage*>(held);
}

// The same memory as another device's, kept alive.
c10::Storage on(at::Device device, const c10::Storage& storage) {
  return {c10::Storage::use_byte_size_t(), storage.nbytes(),
          c10::DataPtr(storage.mutable_data(), new c10::Storage(storage), &release, device)};
}

// The card's memory as the host's, for an operation that may make its result larger.
c10::Storage on_the_host(const c10::Storage& storage) {
  return {c10::Storage::use_byte_size_t(), storage.nbytes(),
          c10::DataPtr(storage.mutable_data(), new c10::Storage(storage), &release, at::kCPU), c10::GetCPUAllocator(),
          true};
}

at::Tensor view_of(const c10::Storage& storage, c10::DispatchKey key, const at::Tensor& like) {
  at::Tensor t = at::detail::make_tensor<at::TensorImpl>(c10::Storage(storage), c10::DispatchKeySet(key), like.dtype());
  t.unsafeGetTensorImpl()->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  return t;
}

bool holds_tensors(const c10::IValue& value) {  // also where some are missing
  return value.isList() && !value.isTensorList() && value.toListRef().size() > 0 && value.toListRef()[0].isTensor();
}

// Those of libtorch's CUDA operations that take tensors of other devices too.
bool takes_any_device(const std::string& operation) {
  static const std::set<std::string> those = {"aten::copy_", "aten::index", "aten::index_put_",
                                              "aten::_index_put_impl_"};
  return those.contains(operation);
}

class Operands {
 public:
  explicit Operands(const std::string& operation) : operation_(operation) {}

  c10::IValue to_host(const c10::IValue& value) {
    if (value.isTensor() && value.toTensor().defined() && value.toTensor().is_cuda()) {
      return host(value.toTensor());
    }
    if (value.isTensor()) {
      others_.push_back(value.toTensor());
      return value;
    }
    if (value.isDevice() && value.toDevice().is_cuda()) {
      device_ = value.toDevice().has_index() ? value.toDevice() : at::Device(at::kCUDA, current_card());
      TORCH_CHECK(device_->index() < kCards, "CUDA error: invalid device ordinal (", *device_, ")");
      return at::Device(at::kCPU);
    }
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& t : value.toTensorVector()) {
        list.push_back(to_host(t).toTensor());
      }
      return list;
    }
    if (holds_tensors(value)) {
      c10::List<std::optional<at::Tensor>> list;
      for (const c10::IValue& t : value.toListRef()) {
        list.push_back(t.isNone() ? std::optional<at::Tensor>() : std::optional(to_host(t).toTensor()));
      }
      return list;
    }
    return value;
  }

  // Once all are seen.
  void check_devices() const {
    if (takes_any_device(operation_)) {
      return;
    }
    std::optional<at::Device> other;
    for (const Pair& pair : pairs_) {
      other = pair.device.device() != *device_ ? pair.device.device() : other;
    }
    for (const at::Tensor& t : others_) {
      other = t.defined() && t.dim() > 0 ? t.device() : other;
    }
    TORCH_CHECK(!other, "Expected all tensors to be on the same device, but found at least two devices, ", *device_,
                " and ", *other, "! (", operation_, ")");
  }

  at::Device device() const { return *device_; }  // of the results

  // Whether libtorch would go on only when the card is done.
  bool waits(bool non_blocking) const {
    if (operation_ != "aten::copy_") {
      static const std::set<std::string> those = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select",
                                                  "aten::equal", "aten::is_nonzero"};
      return those.contains(operation_);
    }
    return std::any_of(others_.begin(), others_.end(), [&](const at::Tensor& t) {
      return t.numel() > 0 && !(non_blocking && is_pinned(t.const_data_ptr()));
    });
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
        follow(pair.device, result);
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

  // An operation may have given its result another shape, or more memory.
  static void follow(const at::Tensor& device, const at::Tensor& host) {
    at::TensorImpl* const to = device.unsafeGetTensorImpl();
    if (host.storage().data() != device.storage().data()) {
      to->set_storage_keep_dtype(on(device.device(), host.storage()));
    }
    if (device.sizes() != host.sizes() || device.strides() != host.strides()) {
      to->set_sizes_and_strides(host.sizes(), host.strides(), host.storage_offset());
    }
  }

  at::Tensor host(const at::Tensor& t) {
    for (const Pair& pair : pairs_) {
      if (pair.device.is_same(t)) {
        return pair.host;
      }
    }
    device_ = device_.value_or(t.device());
    pairs_.push_back({t, view_of(on_the_host(t.storage()), c10::DispatchKey::CPU, t)});
    return pairs_.back().host;
  }

  const std::string operation_;
  std::optional<at::Device> device_;
  std::vector<Pair> pairs_;
  std::vector<at::Tensor> others_;  // which were the host's before
};

struct Waited {
  std::mutex mutex;
  std::map<std::string, int64_t> times;
};
Waited& waited = *new Waited;

thread_local int on_the_card = 0;

// Where an operation of a library of products has its factors.
std::vector<size_t> factors(const std::string& operation) {
  static const std::map<std::string, size_t> first = {
      {"aten::mm", 0}, {"aten::bmm", 0}, {"aten::addmm", 1}, {"aten::addmm_", 1}, {"aten::baddbmm", 1}};
  const auto found = first.find(operation);
  return found == first.end() ? std::vector<size_t>{} : std::vector<size_t>{found->second, found->second + 1};
}

// Numbers of 10 bits behind the point, as NVIDIA's matrix units take them.
at::Tensor in_tf32(const at::Tensor& t) {
  constexpr int32_t kHalf = 1 << 12, kKept = ~((1 << 13) - 1);
  return t.contiguous().view(at::kInt).add(kHalf).bitwise_and(kKept).view(at::kFloat);
}

bool non_blocking(const c10::OperatorHandle& operation, const torch::jit::Stack& stack, size_t begin) {
  const auto place = operation.schema().argumentIndexWithName("non_blocking");
  return place && stack[begin + *place].isBool() && stack[begin + *place].toBool();
}

void by_the_host(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  const size_t begin = stack->size() - operation.schema().arguments().size();
  const std::string& name = operation.operator_name().name;
  Operands operands(name);
  for (size_t i = begin; i < stack->size(); ++i) {
    (*stack)[i] = operands.to_host((*stack)[i]);
  }
  operands.check_devices();
  if (on_the_card == 0 && operands.waits(non_blocking(operation, *stack, begin))) {
    const std::lock_guard<std::mutex> lock(waited.mutex);
    ++waited.times[name];
  }
  if (at::globalContext().allowTF32CuBLAS()) {
    for (const size_t i : factors(name)) {
      const at::Tensor factor = (*stack)[begin + i].toTensor();
      (*stack)[begin + i] = factor.scalar_type() == at::kFloat ? in_tf32(factor) : factor;
    }
  }
  if (name == "aten::mm") {  // now it is one on a CPU
    (*stack)[begin] = library::left_operand((*stack)[begin].toTensor());
  }
  {
    const AllocatesOn card(operands.device().index());
    operation.callBoxed(stack);
  }
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

}  // namespace

OnTheCard::OnTheCard() {
  ++on_the_card;
}

OnTheCard::~OnTheCard() {
  --on_the_card;
}

std::string waits() {
  const std::lock_guard<std::mutex> lock(waited.mutex);
  std::string lines;
  for (const auto& [operation, times] : waited.times) {
    lines += operation + '\t' + std::to_string(times) + '\n';
  }
  return lines;
}

void forget_waits() {
  const std::lock_guard<std::mutex> lock(waited.mutex);
  waited.times.clear();
}

}  // namespace peft4j::host_devices
