#pragma once
#include <ATen/core/Tensor.h>

namespace peft4j {

// Another number after each change in place. Tensors of inference mode count none: they are taken not to change.
inline int64_t version_of(const at::Tensor& t) {
  return t.is_inference() ? 0 : t._version();
}

}  // namespace peft4j
