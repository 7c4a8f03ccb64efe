#include "device/cuda.h"
#include "peft4j_cuda.h"

const char* peft4j_cuda_last_error(void) {
  return peft4j::cuda::last_error().c_str();
}

const char* peft4j_cuda_last_kernel(void) {
  return peft4j::cuda::last_kernel();
}
