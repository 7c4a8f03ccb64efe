#include "providers.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>
#include <sstream>

#include "cuda_library.h"
#include "peft4j.h"

namespace peft4j {
namespace {

// What an operation has on one kind of device; every operation has a reference.
struct Choices {
  bool own, library;
  Provider automatic;
  const char* reason;
};

struct Row {
  Operation operation;
  const char* name;
  Choices cpu, cuda;
};

/*
What `auto` takes. CPU: measured by `peft4j bench kernels`, README "Speed". CUDA: no card has measured yet, so what arithmetic says for an H200:
    lora_linear   our rank kernels around the library's product are 1.07 to 1.09 of the frozen layer. With dual_gemm the passes over x and dy for
                  [x | h] and [dy | g] go, which leaves 1.05 at the library's rate; its head expects 600 of 700 TF: 1.21. A card would have to
                  show 0.96 to 0.98 of the library's rate.
    attention     the library's is flash-attention 2, half of cuDNN's speed on Hopper. attention_forward=sm_90a would be taken where a card shows
                  it faster; the backward's seven products instead of five ask for 1.4 times the rate of flash-attention's.
Cards of compute capability 10.0 and later have no kernels of their own for both: those for sm_80 would run at a fraction of their matrix rate.
*/
constexpr auto kRows = std::to_array<Row>({
    {Operation::kLoraLinear,
     "lora_linear",
     {true, true, Provider::kOwn, "packed oneDNN products, one pass for the rank"},
     {true, true, Provider::kLibrary, "library products over the bordered weight, own kernels for the rank"}},
    {Operation::kAttention,
     "attention",
     {true, true, Provider::kOwn, "packed sequences; libtorch's CPU kernels want padding"},
     {true, true, Provider::kLibrary,
      "flash-attention in libtorch, the prefix joined by log-sum-exp; own kernels for what that lacks"}},
    {Operation::kAttentionDecode,
     "attention_decode",
     {true, false, Provider::kOwn, "the cache is read once, where it is"},
     {true, false, Provider::kOwn, "split over the cache, a shared prefix is read once"}},
    {Operation::kLayerNorm,
     "layer_norm",
     {true, false, Provider::kOwn, "dropout, residual and norm in one pass"},
     {true, false, Provider::kOwn, "dropout, residual and norm in one pass"}},
    {Operation::kGelu,
     "gelu",
     {true, true, Provider::kOwn, "one pass, exponential of lower latency"},
     {true, true, Provider::kLibrary, "one kernel each way"}},
    {Operation::kDropout,
     "dropout",
     {true, false, Provider::kOwn, "the mask is the same on every device"},
     {true, false, Provider::kOwn, "the mask is the same on every device"}},
    {Operation::kTokenLosses,
     "token_losses",
     {true, true, Provider::kOwn, "gradient in the logits' place"},
     {true, true, Provider::kOwn, "gradient in the logits' place; libtorch's calls move ten times its bytes"}},
    {Operation::kAdamW,
     "adamw",
     {false, true, Provider::kLibrary, "libtorch's fused step"},
     {true, true, Provider::kOwn, "one launch for all tensors, which also writes the bordered weight"}},
    {Operation::kRational,
     "rational",
     {true, false, Provider::kOwn, "one pass each way; libtorch would make one for each power"},
     {true, false, Provider::kOwn, "one pass each way; libtorch would make one for each power"}},
    {Operation::kPromptGenerator,
     "prompt_generator",
     {true, false, Provider::kOwn, "libtorch's projections, pooling of packed sequences in one operation"},
     {true, false, Provider::kOwn, "libtorch's projections, pooling of packed sequences in two kernels each way"}},
    {Operation::kRmsNorm,
     "rms_norm",
     {true, false, Provider::kOwn, "dropout, residual and norm in one pass"},
     {true, false, Provider::kOwn, "dropout, residual and norm in one pass"}},
    {Operation::kRotary,
     "rotary",
     {true, false, Provider::kOwn, "one pass for queries and keys"},
     {true, false, Provider::kOwn, "one pass for queries and keys"}},
    {Operation::kGatedMlp,
     "gated_mlp",
     {true, false, Provider::kOwn, "one pass each way"},
     {true, false, Provider::kOwn, "one pass each way"}},
});
constexpr const char* kProviderNames[] = {"own", "library", "reference"};
constexpr int kAutomatic = -1;

struct Forced : std::atomic<int> {
  Forced() : std::atomic<int>(kAutomatic) {}
};
std::array<Forced, kRows.size()> forced;

// No operations of their own: kernels of own operations that have a second form for Hopper cards.
struct HopperKernel {
  const char *name, *of;
  std::atomic<bool> chosen{false};
};
HopperKernel hopper_kernels[] = {
    {"dual_gemm", "lora_linear=own"}, {"attention_forward", "attention=own"}, {"attention_backward", "attention=own"}};
constexpr const char *kForAll = "sm_80", *kForHopper = "sm_90a";
constexpr int kHopper = 90;  // compute capability 9.0

bool has(const Choices& choices, Provider provider) {
  return provider == Provider::kOwn ? choices.own : provider == Provider::kLibrary ? choices.library : true;
}

bool has(const Row& row, Provider provider) {
  return has(row.cpu, provider) || has(row.cuda, provider);
}

Provider next_best(const Choices& choices) {
  return choices.library ? Provider::kLibrary : Provider::kReference;
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
  for (const HopperKernel& kernel : hopper_kernels) {
    names += std::string(", ") + kernel.name;
  }
  return names;
}

// Whether it is the form for Hopper cards.
bool parse_form(const std::string& kernel, const std::string& form) {
  TORCH_CHECK(form == "auto" || form == kForAll || form == kForHopper, "peft4j.kernels: ", kernel,
              " must be one of [auto, ", kForAll, ", ", kForHopper, "], got '", form, "'");
  return form == kForHopper;
}

}  // namespace

Provider provider_of(Operation operation, const at::Tensor& x) {
  const int index = static_cast<int>(operation);
  const Row& row = kRows[index];  // they stand in the order of the enum
  const int choice = forced[index].load(std::memory_order_relaxed);
  if (!on_device(x)) {
    return choice == kAutomatic || !has(row.cpu, static_cast<Provider>(choice)) ? row.cpu.automatic
                                                                                : static_cast<Provider>(choice);
  }
  const Provider provider = choice == kAutomatic || !has(row.cuda, static_cast<Provider>(choice))
                                ? row.cuda.automatic
                                : static_cast<Provider>(choice);
  if (cuda_kernels(x) != nullptr) {
    return provider;
  }
  if (x.scalar_type() != at::kDouble) {  // which they never take
    TORCH_CHECK(provider != Provider::kOwn || choice == kAutomatic, row.name,
                ": peft4j.kernels asks for own kernels on ", x.device(), ", but ", missing_cuda_library());
    announce_missing_cuda();
  }
  return provider == Provider::kOwn ? next_best(row.cuda) : provider;
}

bool dual_gemm_by_wgmma() {
  return hopper_kernels[0].chosen;
}

bool attention_forward_by_wgmma() {
  return hopper_kernels[1].chosen;
}

bool attention_backward_by_wgmma() {
  return hopper_kernels[2].chosen;
}

void set_kernels(const std::string& setting) {
  std::array<int, kRows.size()> next;
  next.fill(kAutomatic);
  std::array<bool, std::size(hopper_kernels)> next_forms{};
  std::istringstream items(setting);
  std::string item;
  while (std::getline(items, item, ',')) {
    const size_t equals = item.find('=');
    const auto kernel = std::find_if(std::begin(hopper_kernels), std::end(hopper_kernels),
                                     [&](const HopperKernel& k) { return item.substr(0, equals) == k.name; });
    if (equals != std::string::npos && kernel != std::end(hopper_kernels)) {
      next_forms[kernel - hopper_kernels] = parse_form(kernel->name, item.substr(equals + 1));
      continue;
    }
    const int choice = parse_provider(equals == std::string::npos ? item : item.substr(equals + 1), setting);
    bool known = equals == std::string::npos;
    for (size_t i = 0; i < kRows.size(); ++i) {
      const bool named = equals != std::string::npos && item.substr(0, equals) == kRows[i].name;
      known |= named;
      const bool available = choice == kAutomatic || has(kRows[i], static_cast<Provider>(choice));
      TORCH_CHECK(!named || available, "peft4j.kernels: ", kRows[i].name, " has no provider '",
                  kProviderNames[std::max(choice, 0)], "'");
      if ((named || equals == std::string::npos) && available) {
        next[i] = choice;
      }
    }
    TORCH_CHECK(known, "peft4j.kernels: operation must be one of [", operation_names(), "], got '",
                item.substr(0, equals), "'");
  }
  for (size_t i = 0; i < next.size(); ++i) {
    forced[i].store(next[i]);
  }
  for (size_t i = 0; i < next_forms.size(); ++i) {
    hopper_kernels[i].chosen = next_forms[i];
  }
}

std::string kernels_in_use() {
  std::ostringstream text;
  for (size_t i = 0; i < kRows.size(); ++i) {
    const Row& row = kRows[i];
    const int choice = forced[i];
    const bool used = choice != kAutomatic && has(row.cpu, static_cast<Provider>(choice));
    text << row.name << '\t' << kProviderNames[used ? choice : static_cast<int>(row.cpu.automatic)] << '\t'
         << (used ? "forced by peft4j.kernels" : row.cpu.reason) << '\n';
  }
  return text.str();
}

namespace {

// capability: of the card, 90 is 9.0; or of any.
std::string kernels_on_cuda(std::optional<int> capability) {
  const std::string missing = missing_cuda();
  std::ostringstream text;
  for (size_t i = 0; i < kRows.size(); ++i) {
    const Row& row = kRows[i];
    const int choice = forced[i];
    const bool used = choice != kAutomatic && has(row.cuda, static_cast<Provider>(choice));
    Provider provider = used ? static_cast<Provider>(choice) : row.cuda.automatic;
    const char* reason = used ? "forced by peft4j.kernels" : row.cuda.reason;
    if (provider == Provider::kOwn && !missing.empty()) {
      provider = next_best(row.cuda);
      reason = missing.c_str();
    }
    text << row.name << '\t' << kProviderNames[static_cast<int>(provider)] << '\t' << reason << '\n';
  }
  for (const HopperKernel& kernel : hopper_kernels) {
    const bool fits = capability.value_or(kHopper) == kHopper;
    text << kernel.name << '\t' << (kernel.chosen && fits ? kForHopper : kForAll) << '\t';
    if (kernel.chosen && fits) {
      text << "on cards of compute capability 9.0; forced by peft4j.kernels\n";
    } else if (kernel.chosen) {
      text << "sm_90a is forced by peft4j.kernels, but this card is none of compute capability 9.0\n";
    } else {
      text << "for " << kernel.of << "; no card has run the sm_90a kernel yet, " << kernel.name
           << "=sm_90a chooses it\n";
    }
  }
  return text.str();
}

}  // namespace

std::string cuda_kernels_in_use() {
  return kernels_on_cuda(std::nullopt);
}

std::string kernels_in_use(at::Device device) {
  TORCH_CHECK(device.is_cpu() || (device.is_cuda() && device.has_index()),
              "kernels_in_use: device must be cpu or cuda:N, got ", device);
  return device.is_cpu() ? kernels_in_use() : kernels_on_cuda(cuda_capability(device.index()));
}

}  // namespace peft4j
