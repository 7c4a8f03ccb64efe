#pragma once
#include <ATen/core/ivalue.h>
#include <c10/util/flat_hash_map.h>

#include <string>

#include "philox.h"

namespace peft4j {

// attention's numbers (peft4j.h), as every provider takes them.
struct AttentionSettings {
  bool causal;
  double scale;
  int64_t window, max_q, max_k;
  Dropout dropout;
  double softcap = 0;
  bool bias_bidirectional = false;
  int64_t bias_max_distance = 0;
};

// Into an autograd node's saved_data, and out of it in backward: all but what makes the bias's buckets, which forward has made.
using SavedData = ska::flat_hash_map<std::string, c10::IValue>;
void save(const AttentionSettings& settings, SavedData& data);
AttentionSettings saved_settings(SavedData& data);

}  // namespace peft4j
