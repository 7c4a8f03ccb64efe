#include "deterministic.h"

#include <ATen/Context.h>

#include <atomic>
#include <mutex>

namespace peft4j {
namespace {

std::atomic<bool> wanted = true;

// libtorch's settings, as they were before the first of the guards.
struct Switch {
  std::mutex mutex;
  int guards = 0;
  bool on = false, only_warns = false, fills = false;
};

Switch& library_switch() {
  static Switch all;
  return all;
}

}  // namespace

void set_deterministic(bool on) {
  wanted = on;
}

bool deterministic() {
  return wanted;
}

DeterministicLibrary::DeterministicLibrary() : counts_(wanted) {
  if (!counts_) {
    return;
  }
  Switch& s = library_switch();
  const std::lock_guard<std::mutex> lock(s.mutex);
  if (s.guards++ == 0) {
    at::Context& context = at::globalContext();
    s.on = context.deterministicAlgorithms();
    s.only_warns = context.deterministicAlgorithmsWarnOnly();
    s.fills = context.deterministicFillUninitializedMemory();
    context.setDeterministicAlgorithms(true, false);             // flash-attention only warns, if that is allowed
    context.setDeterministicFillUninitializedMemory(false);  // else each new tensor is filled with NaN
  }
}

DeterministicLibrary::~DeterministicLibrary() {
  if (!counts_) {
    return;
  }
  Switch& s = library_switch();
  const std::lock_guard<std::mutex> lock(s.mutex);
  if (--s.guards == 0) {
    at::globalContext().setDeterministicAlgorithms(s.on, s.only_warns);
    at::globalContext().setDeterministicFillUninitializedMemory(s.fills);
  }
}

}  // namespace peft4j
