#pragma once
/*
Two CUDA devices without a card. Tensors on cuda:0 and cuda:1 lie in the host's memory: libtorch's operations on them are the
CPU's, own kernels those of CudaOnTheHost. Every thread begins on cuda:0, autograd's for cuda:1 too; a device has one stream,
which is not the null stream.
*/
#include <ATen/core/Tensor.h>

#include <set>
#include <string>
#include <vector>

namespace peft4j::test {

// While it lives, the devices are there, calls of our library's functions are recorded, and those that are not meant for `device` are `wrong`. Needs a
// CudaOnTheHost around it.
class RecordedCalls {
 public:
  explicit RecordedCalls(at::Device device);
  ~RecordedCalls();

  std::vector<std::string> wrong() const;
  std::set<std::string> never_called() const;  // functions of PEFT4J_CUDA_FUNCTIONS

  // A launch of gelu_forward over no elements that has not gone through CudaFunction.
  static void call_directly(void* stream);
};

void* stream_of(at::Device device);

}  // namespace peft4j::test
