#pragma once
/* The cards that the host plays (host_devices/), as the native tests use them. */
#include <c10/core/Device.h>

#include <string>
#include <vector>

namespace peft4j::test {

// While it lives, the devices are there, and calls of our library's functions that are not meant for `device` are `wrong`.
class RecordedCalls {
 public:
  explicit RecordedCalls(at::Device device);
  ~RecordedCalls();
  RecordedCalls(const RecordedCalls&) = delete;
  RecordedCalls& operator=(const RecordedCalls&) = delete;

  std::vector<std::string> wrong() const;
  std::vector<std::string> never_called() const;  // functions of PEFT4J_CUDA_FUNCTIONS

  // A launch of gelu_forward over no elements that has not gone through CudaFunction.
  static void call_directly(void* stream);
};

}  // namespace peft4j::test
