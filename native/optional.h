#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace peft4j {

// As torch::autograd::Function takes a tensor that may be undefined: else it is no variable to it.
inline std::optional<at::Tensor> optional(const at::Tensor& t) {
  return t.defined() ? std::optional(t) : std::nullopt;
}

}  // namespace peft4j
