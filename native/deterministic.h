#pragma once
#include "peft4j.h"

namespace peft4j {

/*
While one lives, libtorch's attention on CUDA devices gives gradients that are the same bits in each run, if deterministic().
libtorch has one switch for the process: it is set while any thread has one of these, and then put back as it was. What
libtorch does in other threads meanwhile is deterministic too, or refuses where it cannot be; so keep it short.
*/
class PEFT4J_API DeterministicLibrary {
 public:
  DeterministicLibrary();
  ~DeterministicLibrary();
  DeterministicLibrary(const DeterministicLibrary&) = delete;
  DeterministicLibrary& operator=(const DeterministicLibrary&) = delete;

 private:
  const bool counts_;
};

}  // namespace peft4j
