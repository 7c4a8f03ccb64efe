#include "providers.h"

#include <c10/util/Exception.h>

#include <array>
#include <atomic>
#include <optional>
#include <sstream>

#include "peft4j.h"

namespace peft4j {
namespace {

struct Row {
  Operation operation;
  const char* name;
  bool own, library;  // every operation has a reference
  Provider automatic;
  const char* reason;
};

// What `auto` takes on a CPU. The measurements: build-scripts/bench-kernels.sh, README "Speed".
constexpr std::array<Row, 5> kRows = {{
    {Operation::kLoraLinear, "lora_linear", true, true, Provider::kOwn,
     "packed oneDNN products, one pass for the rank"},
    {Operation::kAttention, "attention", true, false, Provider::kOwn,
     "packed sequences; libtorch's CPU kernels want padding"},
    {Operation::kLayerNorm, "layer_norm", true, false, Provider::kOwn, "dropout, residual and norm in one pass"},
    {Operation::kGelu, "gelu", true, true, Provider::kOwn, "one pass, exponential of lower latency"},
    {Operation::kDropout, "dropout", true, false, Provider::kOwn, "the mask is the same on every device"},
}};
constexpr const char* kProviderNames[] = {"own", "library", "reference"};
constexpr int kAutomatic = -1;

std::array<std::atomic<int>, kRows.size()> forced = {kAutomatic, kAutomatic, kAutomatic, kAutomatic, kAutomatic};

bool has(const Row& row, Provider provider) {
  return provider == Provider::kOwn ? row.own : provider == Provider::kLibrary ? row.library : true;
}

int parse_provider(const std::string& name, const std::string& setting) {
  if (name == "auto") {
    return kAutomatic;
  }
  for (int i = 0; i < 3; ++i) {
    if (name == kProviderNames[i]) {
      return i;
    }
  }
  TORCH_CHECK(false, "peft4j.kernels: provider must be one of [auto, own, library, reference], got '", name, "' in '",
              setting, "'");
}

std::string operation_names() {
  std::string names;
  for (const Row& row : kRows) {
    names += std::string(names.empty() ? "" : ", ") + row.name;
  }
  return names;
}

}  // namespace

Provider provider_of(Operation operation) {
  const int index = static_cast<int>(operation);
  const int choice = forced[index].load(std::memory_order_relaxed);
  return choice == kAutomatic ? kRows[index].automatic : static_cast<Provider>(choice);
}

void set_kernels(const std::string& setting) {
  std::array<int, kRows.size()> next;
  next.fill(kAutomatic);
  std::istringstream items(setting);
  std::string item;
  while (std::getline(items, item, ',')) {
    const size_t equals = item.find('=');
    const int choice = parse_provider(equals == std::string::npos ? item : item.substr(equals + 1), setting);
    bool known = equals == std::string::npos;
    for (size_t i = 0; i < kRows.size(); ++i) {
      const bool named = equals != std::string::npos && item.substr(0, equals) == kRows[i].name;
      known |= named;
      const bool available = choice == kAutomatic || has(kRows[i], static_cast<Provider>(choice));
      TORCH_CHECK(!named || available, "peft4j.kernels: ", kRows[i].name, " has no provider '",
                  kProviderNames[std::max(choice, 0)], "' on a CPU");
      if ((named || equals == std::string::npos) && available) {
        next[i] = choice;
      }
    }
    TORCH_CHECK(known, "peft4j.kernels: operation must be one of [", operation_names(), "], got '",
                item.substr(0, equals), "'");
  }
  for (size_t i = 0; i < next.size(); ++i) {
    forced[i] = next[i];
  }
}

std::string kernels_in_use() {
  std::ostringstream text;
  for (size_t i = 0; i < kRows.size(); ++i) {
    const int choice = forced[i];
    text << kRows[i].name << '\t' << kProviderNames[static_cast<int>(provider_of(kRows[i].operation))] << '\t'
         << (choice == kAutomatic ? kRows[i].reason : "forced by peft4j.kernels") << '\n';
  }
  return text.str();
}

}  // namespace peft4j
