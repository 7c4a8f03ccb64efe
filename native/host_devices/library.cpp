/* The functions of peft4j_cuda.h: each call is recorded and handed to libpeft4j_cuda_host.so. */
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <tuple>
#include <vector>

#include "../cuda_library.h"
#include "devices.h"
#include "host_devices.h"
#include "memory.h"
#include "operations.h"

namespace peft4j::host_devices {
namespace {

struct Record {
  std::mutex mutex;
  at::DeviceIndex meant_for = -1;
  std::vector<std::string> wrong;
  std::map<std::string, int64_t> calls;
};
Record& record = *new Record;

void note(const char* function, const std::optional<void*>& stream) {
  const std::lock_guard<std::mutex> lock(record.mutex);
  ++record.calls[function];
  const at::DeviceIndex card = record.meant_for < 0 ? current_card() : record.meant_for;
  if (current_card() != card) {
    record.wrong.push_back(c10::str(function, ": the current device is cuda:", static_cast<int>(current_card()),
                                    ", its tensors are on cuda:", static_cast<int>(card)));
  }
  if (stream && *stream != stream_of(card)) {
    record.wrong.push_back(c10::str(function, ": got ",
                                    *stream == nullptr ? "the null stream" : "another device's stream",
                                    " for tensors on cuda:", static_cast<int>(card)));
  }
}

std::string host_library() {
  if (const char* path = std::getenv("PEFT4J_CUDA_HOST_LIBRARY")) {
    return path;
  }
  Dl_info self;
  TORCH_CHECK(dladdr(reinterpret_cast<void*>(&host_library), &self) != 0, "host_devices: where is this library?");
  const std::string path = self.dli_fname;
  return path.substr(0, path.rfind('/') + 1) + "libpeft4j_cuda_host.so";
}

void* in_host_library(const char* function) {
  static void* const handle = [] {
    const std::string path = host_library();
    void* const opened = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    TORCH_CHECK(opened != nullptr, "host_devices: ", dlerror(), "; build-scripts/build-cuda-host.sh builds it");
    return opened;
  }();
  return dlsym(handle, function);
}

std::mutex one_launch;  // at a time: the executor is not for several threads

template <class Name, class Function>
struct Recorded;

template <class Name, class Result, class... Parameters>
struct Recorded<Name, Result (*)(Parameters...)> {
  static Result call(Parameters... parameters) {
    static const auto real = reinterpret_cast<Result (*)(Parameters...)>(in_host_library(Name::kSymbol));
    std::optional<void*> stream;
    if constexpr (CudaFunction<Result (*)(Parameters...)>::kLaunches) {
      stream = std::get<sizeof...(Parameters) - 1>(std::tie(parameters...));
    }
    note(Name::kName, stream);
    const std::lock_guard<std::mutex> lock(one_launch);
    return real(parameters...);
  }
};

#define PEFT4J_NAME(name)                                        \
  struct name##_name {                                           \
    static constexpr const char* kName = #name;                  \
    static constexpr const char* kSymbol = "peft4j_cuda_" #name; \
  };
PEFT4J_CUDA_FUNCTIONS(PEFT4J_NAME)
#undef PEFT4J_NAME

// ---- the cards

constexpr int kDriver = 13000, kCapability = 90;
std::atomic<int> driver = kDriver;
std::array<std::atomic<int>, kCards> capability = {kCapability, kCapability};

int versions(int* of_driver, int* of_runtime) {
  *of_driver = driver;
  *of_runtime = kDriver;
  return 0;
}

int count_cards(int* count) {
  if (driver / 1000 < kDriver / 1000) {
    return 1;  // as CUDA does: the driver is older than the runtime
  }
  *count = driver == 0 ? 0 : kCards;
  return 0;
}

int describe_card(int index, peft4j_cuda_card* card) {
  static const auto real =
      reinterpret_cast<decltype(&peft4j_cuda_describe_card)>(in_host_library("peft4j_cuda_describe_card"));
  const int status = real(0, card);
  const auto which = static_cast<at::DeviceIndex>(index);
  card->capability = capability.at(index);
  card->total_bytes = total_bytes(which);
  return status;
}

int free_of_card(int64_t* bytes) {
  note_context(current_card());
  *bytes = free_bytes(current_card());
  return 0;
}

template <class Function>
void* address_of(Function function) {
  return reinterpret_cast<void*>(function);
}

const std::map<std::string, void*>& own_functions() {
  static const std::map<std::string, void*> all = {{"peft4j_cuda_versions", address_of(&versions)},
                                                   {"peft4j_cuda_count_cards", address_of(&count_cards)},
                                                   {"peft4j_cuda_describe_card", address_of(&describe_card)},
                                                   {"peft4j_cuda_free_bytes", address_of(&free_of_card)},
#define PEFT4J_ENTRY(name) \
  {name##_name::kSymbol, address_of(&Recorded<name##_name, decltype(&peft4j_cuda_##name)>::call)},
                                                   PEFT4J_CUDA_FUNCTIONS(PEFT4J_ENTRY)
#undef PEFT4J_ENTRY
  };
  return all;
}

}  // namespace

void* peft4j_cuda_find(const char* name) {
  plug_in();
  const auto own = own_functions().find(name);
  void* const real = in_host_library(name);
  return own == own_functions().end() || real == nullptr ? real : own->second;
}

void record_calls_for(at::DeviceIndex card) {
  forget_waits();
  forget_contexts();
  const std::lock_guard<std::mutex> lock(record.mutex);
  record.meant_for = card;
  record.wrong.clear();
  record.calls.clear();
}

std::string launches() {
  const std::lock_guard<std::mutex> lock(record.mutex);
  std::string lines;
#define PEFT4J_LINE(name) lines += #name "\t" + std::to_string(record.calls[#name]) + '\n';
  PEFT4J_CUDA_FUNCTIONS(PEFT4J_LINE)
#undef PEFT4J_LINE
  return lines;
}

std::string wrong() {
  const std::lock_guard<std::mutex> lock(record.mutex);
  std::string lines;
  for (const std::string& line : record.wrong) {
    lines += line + '\n';
  }
  return lines;
}

void set_capability(at::DeviceIndex card, int of_card) {
  capability.at(card) = of_card;
}

void set_driver(int version) {
  driver = version;
}

void reset_cards() {
  set_driver(kDriver);
  for (at::DeviceIndex card = 0; card < kCards; ++card) {
    set_capability(card, kCapability);
    set_memory(card, kMemory);
  }
}

}  // namespace peft4j::host_devices
