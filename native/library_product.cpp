#include "library_product.h"

#include <ATen/ATen.h>

namespace peft4j::library {
namespace {

constexpr int64_t kReadAtOnce = 32;  // 16-bit numbers: a row of an AMX tile

}  // namespace

at::Tensor left_operand(const at::Tensor& x) {
  const bool reads_on = x.is_cpu() && at::isReducedFloatingType(x.scalar_type()) && x.size(1) % kReadAtOnce != 0 &&
                        x.size(0) > 1 && x.stride(0) > x.size(1);
  return reads_on ? x.contiguous() : x;
}

at::Tensor mm(const at::Tensor& x, const at::Tensor& w) {
  return at::mm(left_operand(x), w);
}

void mm_out(at::Tensor y, const at::Tensor& x, const at::Tensor& w) {
  at::mm_out(y, left_operand(x), w);
}

at::Tensor addmm(const at::Tensor& bias, const at::Tensor& x, const at::Tensor& w) {
  return at::addmm(bias, left_operand(x), w);
}

void add_mm(at::Tensor y, const at::Tensor& x, const at::Tensor& w) {
  y.addmm_(left_operand(x), w);
}

}  // namespace peft4j::library
