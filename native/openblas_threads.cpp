/*
libtorch's own products of float32 and double go to OpenBLAS on a CPU, which the preset has with threads of its own: they wait for
work by spinning, on the cores that the OpenMP threads of oneDNN and of our kernels compute on. A training step that goes to and
fro between both takes twice as long. So OpenBLAS gives its jobs to us, and they run on OpenMP's threads.
*/
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

extern "C" {
// OpenBLAS's own declarations (cblas.h), whose header nobody installs beside libtorch's.
using openblas_dojob_callback = void (*)(int thread, void* job, int argument);
using openblas_threads_callback = void (*)(int sync, openblas_dojob_callback dojob, int jobs, std::size_t size,
                                           void* data, int argument);
// Weak: a libtorch with another BLAS has no such function.
__attribute__((weak)) void openblas_set_threads_callback_function(openblas_threads_callback callback);
}

namespace peft4j {
namespace {

// Jobs of one product wait for each other: they need a thread each, at the same time.
void run_on_threads(const openblas_dojob_callback dojob, const int jobs, const std::size_t size, char* const data,
                    const int argument) {
  std::vector<std::thread> others;
  others.reserve(jobs - 1);
  for (int i = 1; i < jobs; i++) {
    others.emplace_back(dojob, i, data + i * size, argument);
  }
  dojob(0, data, argument);
  for (std::thread& other : others) {
    other.join();
  }
}

// A job's number chooses its scratch memory in OpenBLAS, which is the process's: one product after the other.
void run(int /*sync*/, const openblas_dojob_callback dojob, const int jobs, const std::size_t size, void* const data,
         const int argument) {
  static std::mutex one_at_a_time;
  const std::lock_guard<std::mutex> lock(one_at_a_time);
  char* const first = static_cast<char*>(data);
  if (jobs == 1) {
    dojob(0, first, argument);
    return;
  }
  std::atomic<bool> done{false};
  if (!omp_in_parallel()) {
    // The size that others have, too: where it changes, OpenMP ends threads and makes new ones.
    const int team = std::max(jobs, omp_get_max_threads());
#pragma omp parallel num_threads(team)
    {
      const int i = omp_get_thread_num();
      if (i < jobs && omp_get_num_threads() >= jobs) {  // a limit of the process may give fewer
        dojob(i, first + i * size, argument);
        done = true;
      }
    }
  }
  if (!done) {
    run_on_threads(dojob, jobs, size, first, argument);
  }
}

// When the library is loaded: before anybody computes with it.
[[maybe_unused]] const bool shared = [] {
  if (openblas_set_threads_callback_function != nullptr) {
    openblas_set_threads_callback_function(run);
  }
  return true;
}();

}  // namespace
}  // namespace peft4j
