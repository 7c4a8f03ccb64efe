#include "library_product.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "onednn.h"

namespace peft4j::library {
namespace {

constexpr int64_t kReadAtOnce = 32;  // 16-bit numbers: a row of an AMX tile

// From these sizes on oneDNN's product is worth two copies at most, each of an operand.
constexpr int64_t kLeastSide = 64, kLeastWork = 1 << 22;

// libtorch's own product of float32 goes to OpenBLAS on a CPU, which the preset has without kernels for AVX-512 and newer processors:
// half the speed of oneDNN's.
bool is_onednns(const at::Tensor& x, const at::Tensor& w) {
  const int64_t m = x.size(0), k = x.size(1), n = w.size(1);
  const bool follows = at::GradMode::is_enabled() && (x.requires_grad() || w.requires_grad());
  return !follows && x.is_cpu() && x.scalar_type() == at::kFloat && onednn::usable(x) &&
         std::min({m, k, n}) >= kLeastSide && m * k * n >= kLeastWork;
}

}  // namespace

at::Tensor left_operand(const at::Tensor& x) {
  const bool reads_on = x.is_cpu() && at::isReducedFloatingType(x.scalar_type()) && x.size(1) % kReadAtOnce != 0 &&
                        x.size(0) > 1 && x.stride(0) > x.size(1);
  return reads_on ? x.contiguous() : x;
}

at::Tensor mm(const at::Tensor& x, const at::Tensor& w) {
  if (is_onednns(x, w)) {
    return onednn::linear(x, w.t().contiguous(), at::Tensor());
  }
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
