/* Chooses the kernels of this processor, once. */
#include <ATen/Version.h>
#include <ATen/core/Tensor.h>

#include "cpu/kernels.h"
#include "peft4j.h"

namespace peft4j {
namespace {

const CpuKernels& choose() {
  const std::string capability = at::get_cpu_capability();  // honours ATEN_CPU_CAPABILITY
  if (capability == "AVX512") {
    return __builtin_cpu_supports("avx512bf16") ? AVX512_BF16::kTable : AVX512::kTable;
  }
  return capability == "AVX2" ? AVX2::kTable : DEFAULT::kTable;
}

}  // namespace

const CpuKernels& cpu_kernels() {
  static const CpuKernels& chosen = choose();
  return chosen;
}

std::string cpu_capability() {
  return cpu_kernels().name;
}

bool cpu_has_bfloat16() {
  return &cpu_kernels() == &AVX512_BF16::kTable;
}

}  // namespace peft4j
