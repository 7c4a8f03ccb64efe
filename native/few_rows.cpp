#include "few_rows.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <atomic>

#include "cpu/kernels.h"
#include "onednn.h"

namespace peft4j {
namespace {

// All of them contiguous.
FewRowsParams params(const at::Tensor& x, const at::Tensor& bias, const at::Tensor& y) {
  FewRowsParams p{};
  p.rows = x.size(0);
  p.out = y.size(1);
  p.in = x.size(1);
  p.x = x.const_data_ptr<float>();
  p.bias = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
  p.y = y.data_ptr<float>();
  return p;
}

at::Tensor contiguous(const at::Tensor& bias) {
  return bias.defined() ? bias.contiguous() : bias;
}

// Whether the panels have w's numbers, and 0 where they are wider than w.
bool holds(const Panels& panels, const at::Tensor& w) {
  const int64_t out = w.size(0), in = w.size(1), width = panels.width;
  const float* from = w.const_data_ptr<float>();
  std::atomic<bool> equal = true;
  at::parallel_for(0, (out + width - 1) / width, 1, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end && equal; ++panel) {
      const float* at = panels.data + panel * panels.padded_in * width;
      const int64_t outputs = std::min(width, out - panel * width);
      int64_t different = 0;
      for (int64_t k = 0; k < in; ++k, at += width) {
        const float* column = from + panel * width * in + k;
        for (int64_t n = 0; n < outputs; ++n) {
          different += at[n] != column[n * in];
        }
        for (int64_t n = outputs; n < width; ++n) {
          different += at[n] != 0;
        }
      }
      if (different > 0) {  // NaN too, which then oneDNN has to deal with
        equal = false;
      }
    }
  });
  return equal;
}

}  // namespace

std::optional<Panels> panels_of(const at::Tensor& packed, const at::Tensor& w) {
  if (w.scalar_type() != at::kFloat || !packed.is_mkldnn()) {
    return std::nullopt;
  }
  const int64_t out = w.size(0), in = w.size(1);
  const auto [data, bytes] = onednn::data_of(packed);
  for (int64_t width = 64; width >= 16; width /= 2) {
    const int64_t column = (out + width - 1) / width * width * static_cast<int64_t>(sizeof(float));
    const Panels panels{static_cast<const float*>(data), width, bytes / column};
    if (bytes % column == 0 && panels.padded_in >= in && holds(panels, w)) {
      return panels;
    }
  }
  return std::nullopt;
}

at::Tensor few_rows_product(const at::Tensor& x_in, const Panels& w, int64_t out, const at::Tensor& bias_in) {
  const at::Tensor x = x_in.contiguous(), bias = contiguous(bias_in);
  at::Tensor y = at::empty({x.size(0), out}, x.options());
  FewRowsParams p = params(x, bias, y);
  p.panels = w.data;
  p.width = w.width;
  p.padded_in = w.padded_in;
  cpu_kernels().panel_product(p);
  return y;
}

at::Tensor few_rows_product(const at::Tensor& x_in, const at::Tensor& w, const at::Tensor& bias_in) {
  const at::Tensor x = x_in.contiguous(), bias = contiguous(bias_in);
  at::Tensor y = at::empty({x.size(0), w.size(0)}, x.options());
  FewRowsParams p = params(x, bias, y);
  p.w = w.const_data_ptr<c10::BFloat16>();
  cpu_kernels().rows_product(p);
  return y;
}

}  // namespace peft4j
