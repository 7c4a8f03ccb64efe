#pragma once
#include <ATen/core/Tensor.h>

namespace peft4j {

/*
A small tensor that was made on the CPU (lengths, indices, labels) on a device, as `type`. Nobody waits: the copy goes by way of
pinned memory, which libtorch keeps until it is made, and takes its turn on the device's current stream. From pageable memory it would
wait for what runs there, in every step.
*/
at::Tensor to_device(const at::Tensor& t, at::ScalarType type, at::Device device);

}  // namespace peft4j
