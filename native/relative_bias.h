#pragma once
#include <ATen/core/Tensor.h>

#include "peft4j.h"

namespace peft4j {

/*
T5's buckets (Raffel et al. 2020) of the distances key position - query position = -max_distance, …, max_distance: int32 on the CPU; farther keys
have the bucket of the last. The same integers as transformers' _relative_position_bucket, whose logarithm is in float32.
*/
PEFT4J_API at::Tensor relative_buckets(int64_t buckets, bool bidirectional, int64_t max_distance);

// The same on a device; the last answer is kept for each thread, as all layers of a model ask for the same.
at::Tensor relative_buckets_on(at::Device device, int64_t buckets, bool bidirectional, int64_t max_distance);

}  // namespace peft4j
