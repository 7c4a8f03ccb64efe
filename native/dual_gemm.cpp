#include "dual_gemm.h"

#include <ATen/ATen.h>

#include <limits>

#include "cuda_library.h"
#include "library_product.h"
#include "providers.h"

namespace peft4j {
namespace {

at::Tensor by_library(const std::vector<Product>& products, const at::Tensor& bias) {
  at::Tensor y;
  for (const Product& p : products) {
    TORCH_INTERNAL_ASSERT(!p.dropout.active(), "dual_gemm: libtorch's products have no mask");
    if (y.defined()) {
      library::add_mm(y, p.x, p.w);
    } else {
      y = bias.defined() ? library::addmm(bias, p.x, p.w) : library::mm(p.x, p.w);
    }
  }
  return y;
}

// The products of one launch: those under the first mask that is left, then those without one.
std::vector<Product> take(std::vector<Product>& left) {
  const auto masked = std::find_if(left.begin(), left.end(), [](const Product& p) { return p.dropout.active(); });
  const uint32_t threshold = masked == left.end() ? 0 : masked->dropout.threshold;
  std::vector<Product> taken;
  for (const uint32_t wanted : {threshold, 0u}) {
    for (auto p = left.begin(); p != left.end() && taken.size() < PEFT4J_CUDA_GEMM_PAIRS;) {
      const bool fits = p->dropout.threshold == wanted;
      if (fits) {
        taken.push_back(*p);
      }
      p = fits ? left.erase(p) : p + 1;
    }
  }
  return taken;
}

}  // namespace

Gemm own_gemm(const at::Tensor& x) {
  if (cuda_kernels(x) == nullptr || (x.scalar_type() != at::kBFloat16 && x.scalar_type() != at::kHalf)) {
    return Gemm::kLibrary;
  }
  return dual_gemm_by_wgmma() ? Gemm::kOwnByWgmma : Gemm::kOwn;
}

at::Tensor dual_gemm(const std::vector<Product>& products, const at::Tensor& bias, Gemm by) {
  const at::Tensor& x = products[0].x;
  if (by == Gemm::kLibrary) {
    return by_library(products, bias);
  }
  const int64_t rows = x.size(0), columns = products[0].w.size(1);
  bool by_k = true, by_n = true;
  for (const Product& p : products) {
    by_k &= p.w.stride(1) == 1;
    by_n &= p.w.stride(0) == 1;
    for (const int64_t size : {rows, columns, p.x.size(1)}) {
      TORCH_CHECK(size <= std::numeric_limits<int32_t>::max(), "dual_gemm: sizes must be below 2^31, got x ",
                  p.x.sizes(), " and w ", p.w.sizes());
    }
    TORCH_CHECK(p.x.size(1) <= 1 || p.x.stride(1) == 1, "dual_gemm: columns of x must be contiguous, got strides ",
                p.x.strides());
  }
  TORCH_CHECK(by_k || by_n, "dual_gemm: every w must be contiguous along the same dimension, got strides ",
              products[0].w.strides(), " for the first of ", products.size());
  const at::Tensor y = at::empty({rows, columns}, x.options()), one_bias = bias.defined() ? bias.contiguous() : bias;
  std::vector<Product> left = products;
  for (bool first = true; !left.empty(); first = false) {
    const std::vector<Product> taken = take(left);
    peft4j_cuda_gemm of{};
    for (const Product& p : taken) {
      of.pairs[of.count++] = {p.x.data_ptr(), p.w.data_ptr(), p.x.size(1), p.x.stride(0), p.w.stride(by_k ? 0 : 1)};
      of.masked += p.dropout.active() ? 1 : 0;
    }
    of.seed = taken[0].dropout.seed;
    of.threshold = taken[0].dropout.threshold;
    of.w_by_k = by_k;
    of.accumulate = !first;
    of.dtype = cuda_dtype(x);
    of.sm90a = by == Gemm::kOwnByWgmma;
    of.bias = first && bias.defined() ? one_bias.data_ptr() : nullptr;
    of.y = y.data_ptr();
    of.t = rows;
    of.n = columns;
    of.y_stride = columns;
    check_cuda(cuda_kernels(x)->dual_gemm(x, &of),
               c10::str("dual_gemm of x ", x.sizes(), " and w ", products[0].w.sizes()));
  }
  return y;
}

}  // namespace peft4j
