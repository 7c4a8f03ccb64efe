#pragma once
#include <ATen/core/Tensor.h>

namespace peft4j {

// Gives the memory back that t's values take in this process, if map_tensor made it; reading them again brings them back from the
// file. For values whose copy in another layout is used from now on.
void forget_pages(const at::Tensor& t);

}  // namespace peft4j
