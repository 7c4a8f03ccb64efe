#pragma once
// Included before peft4j.h by the generated JNI code, which spells some types as the JavaCPP presets do.
#include <ATen/core/Tensor.h>

namespace torch {
using at::Tensor; // as in torch/types.h, whose other 4,000 headers are not wanted
}
