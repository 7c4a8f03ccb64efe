/* What cards there are. The host executor is one card, without a driver and with memory that nobody counts. */
#include <cstring>

#include "device/card.h"
#include "peft4j_cuda.h"

namespace peft4j::cuda {
namespace {

#ifdef __CUDACC__

int checked(cudaError_t error, const char* what) {
  if (error != cudaSuccess) {
    last_error() = std::string(what) + ": " + cudaGetErrorString(error);
  }
  return static_cast<int>(error);
}

#endif

void set_name(peft4j_cuda_card* card, const char* name) {
  std::strncpy(card->name, name, sizeof card->name - 1);
  card->name[sizeof card->name - 1] = '\0';
}

}  // namespace
}  // namespace peft4j::cuda

using namespace peft4j::cuda;

#ifdef __CUDACC__

int peft4j_cuda_versions(int* driver, int* runtime) {
  const int status = checked(cudaDriverGetVersion(driver), "cudaDriverGetVersion");
  return status != 0 ? status : checked(cudaRuntimeGetVersion(runtime), "cudaRuntimeGetVersion");
}

int peft4j_cuda_count_cards(int* count) {
  const cudaError_t error = cudaGetDeviceCount(count);
  if (error == cudaErrorNoDevice) {
    cudaGetLastError();  // else the next launch would report it
    *count = 0;
    return 0;
  }
  return checked(error, "cudaGetDeviceCount");
}

int peft4j_cuda_describe_card(int index, peft4j_cuda_card* card) {
  cudaDeviceProp properties;
  if (const int status = checked(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties")) {
    return status;
  }
  set_name(card, properties.name);
  card->capability = 10 * properties.major + properties.minor;
  card->total_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  return 0;
}

int peft4j_cuda_free_bytes(int64_t* bytes) {
  size_t free = 0, total = 0;
  const int status = checked(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  *bytes = static_cast<int64_t>(free);
  return status;
}

#else

int peft4j_cuda_versions(int* driver, int* runtime) {
  *driver = *runtime = 0;
  return 0;
}

int peft4j_cuda_count_cards(int* count) {
  *count = 1;
  return 0;
}

int peft4j_cuda_describe_card(int, peft4j_cuda_card* card) {
  set_name(card, "host executor");
  card->capability = current_card().capability;
  card->total_bytes = 0;
  return 0;
}

int peft4j_cuda_free_bytes(int64_t* bytes) {
  *bytes = 0;
  return 0;
}

#endif
