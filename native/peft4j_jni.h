#pragma once
/* What the JNI file of org.peft4j.ops.PeftNative includes: the contract, and a name that the presets' classes use. */
#include "peft4j.h"

namespace torch {
using at::Tensor;
}
