#include "cuda_library.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "peft4j.h"

namespace peft4j {
namespace {

struct Library {
  CudaKernels kernels;
  CudaCards cards;
  decltype(&peft4j_cuda_last_error) last_error;
  bool on_host;
};

std::mutex mutex;
std::atomic<const Library*> loaded{nullptr};
constexpr const char* kNoPath = "its path was not given";
std::string problem = kNoPath;
std::atomic<bool> announced{false};
std::atomic<Logger> logger{nullptr};

// "" or why not.
std::string open_library(const std::string& path, Library& library) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return dlerror();
  }
  // A library that stands in another's place (host_devices/) is asked for the functions.
  const auto stand_in = reinterpret_cast<void* (*)(const char*)>(dlsym(handle, "peft4j_cuda_find"));
  std::string missing;
  const auto find = [&](const char* name) {
    void* const function = stand_in == nullptr ? dlsym(handle, name) : stand_in(name);
    if (function == nullptr) {
      missing = missing.empty() ? name : missing;
    }
    return function;
  };
#define PEFT4J_FIND(name) \
  library.kernels.name = reinterpret_cast<decltype(&peft4j_cuda_##name)>(find("peft4j_cuda_" #name));
  PEFT4J_CUDA_FUNCTIONS(PEFT4J_FIND)
#undef PEFT4J_FIND
  library.cards.versions = reinterpret_cast<decltype(&peft4j_cuda_versions)>(find("peft4j_cuda_versions"));
  library.cards.count = reinterpret_cast<decltype(&peft4j_cuda_count_cards)>(find("peft4j_cuda_count_cards"));
  library.cards.describe = reinterpret_cast<decltype(&peft4j_cuda_describe_card)>(find("peft4j_cuda_describe_card"));
  library.cards.free_bytes = reinterpret_cast<decltype(&peft4j_cuda_free_bytes)>(find("peft4j_cuda_free_bytes"));
  library.last_error = reinterpret_cast<decltype(library.last_error)>(find("peft4j_cuda_last_error"));
  if (!missing.empty()) {
    return path + " has no " + missing + ": it was built from other sources than this libpeft4j.so";
  }
  library.on_host = dlsym(handle, "peft4j_cuda_runs_on_the_host") != nullptr;
  return "";
}

}  // namespace

void load_cuda(const std::string& path) {
  const std::lock_guard<std::mutex> lock(mutex);
  announced = false;
  if (path.empty()) {
    loaded = nullptr;
    problem = kNoPath;
    return;
  }
  auto library = std::make_unique<Library>();
  const std::string error = open_library(path, *library);
  problem = error.empty() ? "" : error;
  TORCH_CHECK(error.empty(), "load_cuda: ", error);
  static auto& all = *new std::vector<std::unique_ptr<const Library>>;  // never freed: kernels may still run
  all.push_back(std::move(library));
  loaded = all.back().get();
}

std::string missing_cuda_library() {
  const std::lock_guard<std::mutex> lock(mutex);
  return loaded != nullptr
             ? ""
             : "libpeft4j_cuda.so is not loaded (" + problem +
                   "); build-scripts/build-cuda.sh builds it, the jar with classifier linux-x86_64-gpu has it";
}

void set_logger(Logger to) {
  logger = to;
}

void announce_missing_cuda() {
  if (announced.exchange(true)) {
    return;
  }
  const std::string line =
      "peft4j: " + missing_cuda_library() + "; CUDA tensors are served by libtorch's operations meanwhile";
  if (const Logger to = logger) {
    to(line.c_str());
  } else {
    TORCH_WARN(line);
  }
}

const CudaCards* cuda_cards() {
  const Library* library = loaded;
  return library != nullptr ? &library->cards : nullptr;
}

bool cuda_runs_on_the_host() {
  const Library* library = loaded;
  return library != nullptr && library->on_host;
}

bool on_device(const at::Tensor& x) {
  return !x.is_cpu() || cuda_runs_on_the_host();
}

const CudaKernels* cuda_kernels(const at::Tensor& x) {
  const Library* library = loaded;
  const bool fits =
      library != nullptr && (x.is_cuda() || (library->on_host && x.is_cpu())) && x.scalar_type() != at::kDouble;
  return fits ? &library->kernels : nullptr;
}

OnDeviceOf::OnDeviceOf(const at::Tensor& x)
    : device_(x.device()), guard_(x.is_cpu() ? std::nullopt : std::optional(device_)) {}

void* OnDeviceOf::stream() const {
  return device_.is_cpu() ? nullptr : c10::impl::getDeviceGuardImpl(device_.type())->getStream(device_).native_handle();
}

int cuda_dtype(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat ? 0 : x.scalar_type() == at::kBFloat16 ? 1 : 2;
}

std::string last_cuda_error() {
  const Library* library = loaded;
  return library != nullptr ? library->last_error() : "no library";
}

void raise_cuda(const std::string& what) {
  TORCH_CHECK(false, what, ": ", last_cuda_error());
}

}  // namespace peft4j
