#include "attention_settings.h"

namespace peft4j {

void save(const AttentionSettings& settings, SavedData& data) {
  data["causal"] = settings.causal;
  data["scale"] = settings.scale;
  data["window"] = settings.window;
  data["max_q"] = settings.max_q;
  data["max_k"] = settings.max_k;
  data["threshold"] = static_cast<int64_t>(settings.dropout.threshold);
  data["seed"] = static_cast<int64_t>(settings.dropout.seed);
  data["softcap"] = settings.softcap;
}

AttentionSettings saved_settings(SavedData& data) {
  const Dropout dropout{static_cast<uint64_t>(data["seed"].toInt()), static_cast<uint32_t>(data["threshold"].toInt())};
  return {data["causal"].toBool(),   data["scale"].toDouble(), data["window"].toInt(),
          data["max_q"].toInt(),     data["max_k"].toInt(),    dropout,
          data["softcap"].toDouble()};
}

}  // namespace peft4j
