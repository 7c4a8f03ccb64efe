#include "to_device.h"

#include <ATen/ATen.h>

namespace peft4j {

at::Tensor to_device(const at::Tensor& t, at::ScalarType type, at::Device device) {
  if (!t.is_cpu() || !device.is_cuda()) {
    return t.to(device, type);
  }
  at::Tensor pinned = at::empty(t.sizes(), t.options().dtype(type).pinned_memory(true));
  pinned.copy_(t);
  return pinned.to(device, type, /*non_blocking=*/true);
}

}  // namespace peft4j
