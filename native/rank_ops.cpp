#include "rank_ops.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <tuple>

#include "checks.h"
#include "library_product.h"
#include "reference.h"

namespace peft4j {
namespace {

at::Tensor rows_of(const at::Tensor& t, const RankSegment& s) {
  return t.narrow(0, s.begin, s.end - s.begin);
}

at::Tensor ranks_of(const at::Tensor& h, const RankSegment& s) {
  return rows_of(h, s).narrow(1, s.column, s.factor.size(0));
}

// ---- by at:: calls

at::Tensor masked(const at::Tensor& rows, const RankSegment& s) {
  return s.dropout.active() ? rows * reference::dropout_mask(rows, rows.size(0), rows.size(1), s.dropout, s.begin)
                            : rows;
}

void shrink_by_at(const at::Tensor& x, const RankSegments& segments, const at::Tensor& copy, const at::Tensor& h,
                  bool fill, bool drops) {
  if (copy.defined()) {
    copy.copy_(x);
  }
  if (fill) {
    h.zero_();
  }
  for (const RankSegment& s : segments) {
    const at::Tensor rows = drops ? masked(rows_of(x, s), s) : rows_of(x, s);
    ranks_of(h, s).copy_(library::mm(rows, s.factor.to(x.scalar_type()).t()) * s.scale);
  }
}

// ---- by cuda/

void check_matrix(const char* operation, const char* name, const at::Tensor& t, const at::Tensor& x, int64_t rows,
                  int64_t columns) {
  TORCH_CHECK(t.dim() == 2 && t.size(0) == rows && (columns < 0 || t.size(1) == columns), operation, ": ", name,
              " must have shape [", rows, ", ", columns < 0 ? "ranks" : std::to_string(columns), "], got ", t.sizes());
  check_like(operation, name, t, "x", x);
  TORCH_CHECK(t.stride(1) == 1 || t.size(1) <= 1, operation, ": columns of ", name, " must be contiguous, got strides ",
              t.strides());
}

void check_segments(const char* operation, const RankSegments& segments, const at::Tensor& x, const at::Tensor& h,
                    bool transposed) {
  const int64_t columns = x.size(1);
  for (const RankSegment& s : segments) {
    const at::Tensor& f = s.factor;
    TORCH_CHECK(f.dim() == 2 && f.size(1) == columns, operation, ": a factor must have shape [r, ", columns, "], got ",
                f.sizes());
    TORCH_CHECK(f.device() == x.device(), operation, ": x is on ", x.device(), " but a factor on ", f.device());
    TORCH_CHECK(f.scalar_type() == x.scalar_type() || f.scalar_type() == at::kFloat, operation, ": a factor must be ",
                x.scalar_type(), " or float32, got ", f.scalar_type());
    TORCH_CHECK(f.scalar_type() == segments[0].factor.scalar_type(), operation, ": one factor is ", f.scalar_type(),
                " and another ", segments[0].factor.scalar_type());
    TORCH_CHECK(0 <= s.begin && s.begin <= s.end && s.end <= x.size(0), operation, ": a segment has rows [", s.begin,
                ", ", s.end, ") of ", x.size(0));
    TORCH_CHECK(s.dropout.seed == segments[0].dropout.seed, operation, ": adapters of a call share a seed, got ",
                segments[0].dropout.seed, " and ", s.dropout.seed);
    TORCH_CHECK(0 <= s.column && s.column + f.size(0) <= h.size(1), operation, ": a segment has columns [", s.column,
                ", ", s.column + f.size(0), ") of ", h.size(1));
    if (s.gradient.defined()) {
      check_shape(operation, "a gradient", s.gradient,
                  transposed ? at::IntArrayRef{columns, f.size(0)} : at::IntArrayRef{f.size(0), columns},
                  transposed ? "[C, r]" : "[r, C]");
      TORCH_CHECK(s.gradient.scalar_type() == at::kFloat && s.gradient.is_contiguous(), operation,
                  ": a gradient must be float32 and contiguous, got ", s.gradient.scalar_type(), " with strides ",
                  s.gradient.strides());
      TORCH_CHECK(s.gradient.device() == x.device(), operation, ": x is on ", x.device(), " but a gradient on ",
                  s.gradient.device());
    }
  }
}

// Those of the same rows and mask follow each other.
RankSegments sorted(RankSegments segments) {
  std::erase_if(segments, [](const RankSegment& s) { return s.begin == s.end; });
  std::stable_sort(segments.begin(), segments.end(), [](const RankSegment& a, const RankSegment& b) {
    return std::make_tuple(a.begin, a.end, a.dropout.threshold) < std::make_tuple(b.begin, b.end, b.dropout.threshold);
  });
  return segments;
}

// The segments cut and dealt out so that those of a layer have either the same rows and mask or no row in common.
// The first layer covers rows [0, cover).
std::vector<RankSegments> layers_of(const RankSegments& segments, int64_t cover) {
  const RankSegments all = sorted(segments);
  std::vector<int64_t> cuts = {0, cover};
  for (const RankSegment& s : all) {
    cuts.insert(cuts.end(), {s.begin, s.end});
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  std::vector<RankSegments> layers(1);
  RankSegments open;  // those of the rows between two cuts
  auto next = all.begin();
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    std::erase_if(open, [&](const RankSegment& s) { return s.end <= cuts[i]; });
    for (; next != all.end() && next->begin == cuts[i]; ++next) {
      open.push_back(*next);
    }
    std::vector<uint32_t> masks;  // layer by layer
    for (const RankSegment& s : open) {
      const size_t layer = std::find(masks.begin(), masks.end(), s.dropout.threshold) - masks.begin();
      if (layer == masks.size()) {
        masks.push_back(s.dropout.threshold);
      }
      layers.resize(std::max(layers.size(), layer + 1));
      layers[layer].push_back(s);
      layers[layer].back().begin = cuts[i];
      layers[layer].back().end = cuts[i + 1];
    }
    if (open.empty() && cuts[i] < cover) {
      layers[0].push_back({cuts[i], cuts[i + 1], 0, at::Tensor(), 0, Dropout(), at::Tensor()});
    }
  }
  return layers;
}

bool has_gradient(const RankSegments& segments) {
  return std::any_of(segments.begin(), segments.end(), [](const RankSegment& s) { return s.gradient.defined(); });
}

// The arguments of a call, and what they point to.
struct RankCall {
  using Kernel = decltype(CudaKernels::lora_shrink);
  using Size = decltype(CudaKernels::lora_grad_a_scratch);

  const char* operation;
  const at::Tensor& x;
  std::vector<peft4j_cuda_segment> segments;
  peft4j_cuda_lora p{};

  RankCall(const char* operation_, const at::Tensor& x_, const RankSegments& from, bool drops)
      : operation(operation_), x(x_) {
    for (const RankSegment& s : from) {
      peft4j_cuda_segment to{};
      to.begin = s.begin;
      to.end = s.end;
      to.column = static_cast<int32_t>(s.column);
      to.scale = static_cast<float>(s.scale);
      if (s.factor.defined()) {
        to.rank = static_cast<int32_t>(s.factor.size(0));
        to.factor = s.factor.const_data_ptr();
        to.rank_stride = s.factor.stride(0);
        to.column_stride = s.factor.stride(1);
        p.factor_dtype = cuda_dtype(s.factor);
      }
      to.gradient = s.gradient.defined() ? s.gradient.data_ptr<float>() : nullptr;
      to.threshold = drops ? s.dropout.threshold : 0;
      p.seed = to.threshold > 0 ? s.dropout.seed : p.seed;
      segments.push_back(to);
    }
    p.dtype = p.y_dtype = cuda_dtype(x);
    p.tf32 = at::globalContext().allowTF32CuBLAS();
    p.columns = x.size(1);
    p.segments = segments.data();
    p.n_segments = static_cast<int64_t>(segments.size());
  }

  static void set(void*& data, int64_t& stride, const at::Tensor& t) {
    if (t.defined()) {
      data = t.data_ptr();
      stride = t.stride(0);
    }
  }

  void run(const Kernel& f) {
    if (!segments.empty()) {
      check_cuda(f(x, &p), c10::str(operation, " of [", x.size(0), ", ", x.size(1), "] ", x.scalar_type(), " with ",
                                    segments.size(), " segments"));
    }
  }

  void run(const Size& scratch_floats, const Kernel& f) {
    if (segments.empty()) {
      return;
    }
    const at::Tensor scratch = at::empty({scratch_floats(x, &p)}, x.options().dtype(at::kFloat));
    p.scratch = scratch.data_ptr<float>();
    run(f);
  }
};

}  // namespace

void lora_shrink(const at::Tensor& x, const RankSegments& segments, const at::Tensor& copy, const at::Tensor& h,
                 bool fill) {
  constexpr const char* kName = "lora_shrink";
  const CudaKernels* cuda = cuda_kernels(x);
  if (cuda == nullptr) {
    return shrink_by_at(x, segments, copy, h, fill, true);
  }
  check_matrix(kName, "x", x, x, x.size(0), -1);
  check_matrix(kName, "h", h, x, x.size(0), -1);
  if (copy.defined()) {
    check_matrix(kName, "copy", copy, x, x.size(0), x.size(1));
  }
  check_segments(kName, segments, x, h, false);
  bool first = true;
  for (const RankSegments& layer : layers_of(segments, fill || copy.defined() ? x.size(0) : 0)) {
    RankCall call(kName, x, layer, true);
    call.p.x = x.const_data_ptr();
    call.p.x_stride = x.stride(0);
    RankCall::set(call.p.h, call.p.h_stride, h);
    if (first) {
      RankCall::set(call.p.y, call.p.y_stride, copy);
      call.p.h_columns = fill ? h.size(1) : 0;
    }
    call.run(cuda->lora_shrink_scratch, cuda->lora_shrink);
    first = false;
  }
}

void lora_grad_b(const at::Tensor& dy, const RankSegments& segments, const at::Tensor& h, const at::Tensor& copy,
                 const at::Tensor& g, bool fill) {
  constexpr const char* kName = "lora_grad_b";
  const CudaKernels* cuda = cuda_kernels(dy);
  if (cuda == nullptr) {
    shrink_by_at(dy, segments, copy, g, fill, false);
    for (const RankSegment& s : segments) {
      if (s.gradient.defined()) {
        const at::ScalarType type = compute_type(dy);
        s.gradient.copy_(library::mm(rows_of(dy, s).t().to(type), ranks_of(h, s).to(type)));
      }
    }
    return;
  }
  check_matrix(kName, "dy", dy, dy, dy.size(0), -1);
  check_matrix(kName, "h", h, dy, dy.size(0), -1);
  check_matrix(kName, "g", g, dy, dy.size(0), h.size(1));
  if (copy.defined()) {
    check_matrix(kName, "copy", copy, dy, dy.size(0), dy.size(1));
  }
  check_segments(kName, segments, dy, h, true);
  RankSegments unmasked = segments;
  for (RankSegment& s : unmasked) {
    s.dropout = Dropout();
  }
  unmasked = sorted(unmasked);
  const auto layers = layers_of(unmasked, fill || copy.defined() ? dy.size(0) : 0);
  // Segments that were cut: their gradients are sums over all their rows, a call of its own.
  const bool cut = std::count_if(layers[0].begin(), layers[0].end(), [](const RankSegment& s) {
                     return s.factor.defined();
                   }) > static_cast<int64_t>(unmasked.size());
  const auto start = [&](RankSegments list, bool gradients, bool ranks) {
    for (RankSegment& s : list) {
      s.gradient = gradients ? s.gradient : at::Tensor();
    }
    RankCall call(kName, dy, list, false);
    call.p.x = dy.const_data_ptr();
    call.p.x_stride = dy.stride(0);
    call.p.h = h.data_ptr();
    call.p.h_stride = h.stride(0);
    if (ranks) {
      RankCall::set(call.p.g, call.p.g_stride, g);
      RankCall::set(call.p.y, call.p.y_stride, copy);
      call.p.h_columns = fill ? g.size(1) : 0;
    }
    call.run(cuda->lora_grad_b_scratch, cuda->lora_grad_b);
  };
  start(layers[0], !cut, true);
  if (cut && has_gradient(unmasked)) {
    start(unmasked, true, false);
  }
}

void lora_grad_a(const at::Tensor& x, const at::Tensor& g, const RankSegments& segments) {
  constexpr const char* kName = "lora_grad_a";
  const CudaKernels* cuda = cuda_kernels(x);
  if (cuda == nullptr) {
    const at::ScalarType type = compute_type(x);
    for (const RankSegment& s : segments) {
      if (s.gradient.defined()) {
        s.gradient.copy_(library::mm(ranks_of(g, s).t().to(type), masked(rows_of(x, s).to(type), s)));
      }
    }
    return;
  }
  check_matrix(kName, "x", x, x, x.size(0), -1);
  check_matrix(kName, "g", g, x, x.size(0), -1);
  check_segments(kName, segments, x, g, false);
  if (!has_gradient(segments)) {
    return;
  }
  RankCall call(kName, x, sorted(segments), true);
  call.p.x = x.const_data_ptr();
  call.p.x_stride = x.stride(0);
  RankCall::set(call.p.g, call.p.g_stride, g);
  call.run(cuda->lora_grad_a_scratch, cuda->lora_grad_a);
}

void lora_expand(const at::Tensor& y, const at::Tensor& h, const RankSegments& segments) {
  constexpr const char* kName = "lora_expand";
  const CudaKernels* cuda = cuda_kernels(y);
  if (cuda == nullptr) {
    for (const RankSegment& s : segments) {
      rows_of(y, s).add_(masked(library::mm(ranks_of(h, s), s.factor.to(y.scalar_type())), s));
    }
    return;
  }
  check_matrix(kName, "y", y, y, y.size(0), -1);
  check_matrix(kName, "h", h, y, y.size(0), -1);
  check_segments(kName, segments, y, h, false);
  for (const RankSegments& layer : layers_of(segments, 0)) {
    RankCall call(kName, y, layer, true);
    RankCall::set(call.p.y, call.p.y_stride, y);
    RankCall::set(call.p.h, call.p.h_stride, h);
    call.run(cuda->lora_expand);
  }
}

}  // namespace peft4j
