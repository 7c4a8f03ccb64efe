/* attention_decode: checks, the way to the kernels, and the slow twin (contract: peft4j.h; kernel: cuda/attention_decode.cu). */
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "checks.h"
#include "cpu/kernels.h"
#include "device_lengths.h"
#include "peft4j.h"
#include "providers.h"

namespace peft4j {
namespace {

constexpr const char* kAttentionDecode = "attention_decode";
constexpr int64_t kWidestHead = 256;  // of the CUDA kernel

struct Cache {
  at::Tensor k, v, cu, block_table;
  int64_t longest;

  bool paged() const { return block_table.defined(); }
  int64_t sequences() const { return cu.numel() - 1; }
  int64_t begin(int64_t s) const { return cu.data_ptr<int64_t>()[s]; }
  int64_t keys(int64_t s) const { return begin(s + 1) - begin(s); }

  // The keys or values of one sequence, [n, Hkv, D].
  at::Tensor of(const at::Tensor& all, int64_t s) const {
    if (!paged()) {
      return all.narrow(0, begin(s), keys(s));
    }
    const int64_t blocks = (keys(s) + all.size(1) - 1) / all.size(1);
    return all.index_select(0, block_table[s].narrow(0, 0, blocks)).flatten(0, 1).narrow(0, 0, keys(s));
  }
};

struct DecodeSettings {
  double scale;
  int64_t window;
  double softcap;
};

void check_cache(const at::Tensor& q, const Cache& cache) {
  const int64_t dims = cache.paged() ? 4 : 3;
  for (const auto& [name, t] : {std::pair("k", cache.k), std::pair("v", cache.v)}) {
    TORCH_CHECK(t.defined() && t.dim() == dims, kAttentionDecode, ": ", name, " must have shape ",
                cache.paged() ? "[blocks, block size, heads, D]" : "[Tk, heads, D]", ", got ",
                t.defined() ? t.sizes() : at::IntArrayRef());
    check_like(kAttentionDecode, name, t, "q", q);
    TORCH_CHECK(t.numel() == 0 || (t.stride(-1) == 1 && t.stride(-2) == t.size(-1)), kAttentionDecode,
                ": heads of a row of ", name, " must be contiguous, got strides ", t.strides());
  }
  check_shape(kAttentionDecode, "v", cache.v, cache.k.sizes(), "that of k");
  TORCH_CHECK(cache.v.strides() == cache.k.strides(), kAttentionDecode, ": k has strides ", cache.k.strides(),
              " but v ", cache.v.strides());
  const int64_t heads = cache.k.size(-2);
  TORCH_CHECK(cache.k.size(-1) == q.size(2), kAttentionDecode, ": q has head size ", q.size(2), " but k ",
              cache.k.size(-1));
  TORCH_CHECK(heads > 0 && q.size(1) % heads == 0, kAttentionDecode, ": ", q.size(1),
              " query heads are no multiple of the ", heads, " key heads");
}

void check_lengths(const at::Tensor& q, const Cache& cache) {
  check_cu_seqlens(kAttentionDecode, "cu_seqlens_k", cache.cu, cache.paged() ? -1 : cache.k.size(0), "k",
                   cache.longest);
  const int64_t sequences = cache.sequences();
  TORCH_CHECK(sequences == 0 ? q.size(0) == 0 : q.size(0) % sequences == 0 && q.size(0) >= sequences, kAttentionDecode,
              ": q has ", q.size(0), " rows, which are not the same number for each of ", sequences, " sequences");
  if (!cache.paged()) {
    return;
  }
  const at::Tensor& table = cache.block_table;
  TORCH_CHECK(table.dim() == 2 && table.size(0) == sequences && table.scalar_type() == at::kInt &&
                  table.is_contiguous() && table.device() == q.device(),
              kAttentionDecode, ": block_table must be a contiguous int32 matrix [", sequences, ", blocks] on ",
              q.device(), ", got ", table.scalar_type(), " ", table.sizes(), " on ", table.device());
  const int64_t size = cache.k.size(1), blocks = cache.k.size(0);
  for (int64_t s = 0; s < sequences; ++s) {
    TORCH_CHECK(cache.keys(s) <= table.size(1) * size, kAttentionDecode, ": sequence ", s, " has ", cache.keys(s),
                " keys, but block_table names ", table.size(1), " blocks of ", size);
    for (int64_t j = 0; table.is_cpu() && j * size < cache.keys(s); ++j) {
      const int32_t block = table.data_ptr<int32_t>()[s * table.size(1) + j];
      TORCH_CHECK(block >= 0 && block < blocks, kAttentionDecode, ": block_table[", s, ", ", j, "] is ", block,
                  ", but there are ", blocks, " blocks");
    }
  }
}

void check_prefix(const at::Tensor& q, const Cache& cache, const at::Tensor& prefix_k, const at::Tensor& prefix_v) {
  TORCH_CHECK(prefix_k.defined() == prefix_v.defined(), kAttentionDecode,
              ": prefix_k and prefix_v come together, got only one");
  if (!prefix_k.defined()) {
    return;
  }
  const int64_t sequences = cache.sequences(), heads = cache.k.size(-2), d = q.size(2);
  const bool shared = prefix_k.dim() == 3, each = prefix_k.dim() == 4 && prefix_k.size(0) == sequences;
  TORCH_CHECK((shared || each) && prefix_k.size(-2) == heads && prefix_k.size(-1) == d, kAttentionDecode,
              ": a prefix must have shape [P, ", heads, ", ", d, "] or [", sequences, ", P, ", heads, ", ", d,
              "], got ", prefix_k.sizes());
  check_like(kAttentionDecode, "prefix_k", prefix_k, "q", q);
  check_like(kAttentionDecode, "prefix_v", prefix_v, "q", q);
  check_shape(kAttentionDecode, "prefix_v", prefix_v, prefix_k.sizes(), "that of prefix_k");
}

at::Tensor on_cuda(const CudaKernels& kernels, const at::Tensor& q, const Cache& cache, const at::Tensor& prefix_k,
                   const at::Tensor& prefix_v, const DecodeSettings& settings) {
  const at::Tensor o = at::empty(q.sizes(), q.options());
  const at::Tensor cu = device_lengths(cache.cu, q.device());
  peft4j_cuda_decode p{};
  p.dtype = cuda_dtype(q);
  p.scale = static_cast<float>(settings.scale);
  p.softcap = static_cast<float>(settings.softcap);
  p.sequences = cache.sequences();
  p.queries = q.size(0) / p.sequences;
  p.query_heads = q.size(1);
  p.key_heads = cache.k.size(-2);
  p.head_size = q.size(2);
  p.longest = cache.longest;
  p.window = settings.window;
  p.q = {q.data_ptr(), q.stride(0), q.stride(1)};
  p.o = {o.data_ptr(), o.stride(0), o.stride(1)};
  p.k = cache.k.data_ptr();
  p.v = cache.v.data_ptr();
  p.key = cache.k.stride(-3);
  p.head = cache.k.stride(-2);
  p.cu_seqlens_k = cu.data_ptr<int32_t>();
  if (cache.paged()) {
    p.block = cache.k.stride(0);
    p.block_size = cache.k.size(1);
    p.block_table = cache.block_table.data_ptr<int32_t>();
    p.max_blocks = cache.block_table.size(1);
  }
  const at::Tensor pk = prefix_k.defined() ? prefix_k.contiguous() : prefix_k,
                   pv = prefix_v.defined() ? prefix_v.contiguous() : prefix_v;
  if (pk.defined()) {
    p.prefix_k = pk.data_ptr();
    p.prefix_v = pv.data_ptr();
    p.prefix = pk.size(-3);
    p.prefix_shared = pk.dim() == 3;
  }
  const at::Tensor scratch = at::empty({kernels.attention_decode_scratch(q, &p)}, q.options().dtype(at::kFloat));
  p.scratch = scratch.data_ptr<float>();
  check_cuda(kernels.attention_decode(q, &p),
             c10::str(kAttentionDecode, " of q ", q.sizes(), " and k ", cache.k.sizes()));
  return o;
}

at::Tensor on_cpu(const at::Tensor& q, const Cache& cache, const at::Tensor& prefix_k, const at::Tensor& prefix_v,
                  const DecodeSettings& settings) {
  const at::Tensor o = at::empty(q.sizes(), q.options());
  const at::Tensor cu = cache.cu.contiguous();
  const at::Tensor pk = prefix_k.defined() ? prefix_k.contiguous() : prefix_k,
                   pv = prefix_v.defined() ? prefix_v.contiguous() : prefix_v;
  DecodeParams p{};
  p.dtype = q.scalar_type();
  p.sequences = cache.sequences();
  p.queries = q.size(0) / p.sequences;
  p.query_heads = q.size(1);
  p.key_heads = cache.k.size(-2);
  p.head_size = q.size(2);
  p.q = q.const_data_ptr();
  p.q_stride = q.stride(0);
  p.k = cache.k.const_data_ptr();
  p.v = cache.v.const_data_ptr();
  p.row_stride = cache.k.stride(-3);
  p.begin_k = cu.const_data_ptr<int64_t>();
  if (cache.paged()) {
    p.block_table = cache.block_table.const_data_ptr<int32_t>();
    p.max_blocks = cache.block_table.size(1);
    p.block_size = cache.k.size(1);
    p.block_stride = cache.k.stride(0);
  }
  if (pk.defined()) {
    p.prefix_k = pk.const_data_ptr();
    p.prefix_v = pv.const_data_ptr();
    p.prefix = pk.size(-3);
    p.prefix_stride = pk.dim() == 4 ? pk.stride(0) : 0;
  }
  p.window = settings.window;
  p.scale = settings.scale;
  p.softcap = settings.softcap;
  p.out = o.data_ptr();
  cpu_kernels().attention_decode(p);
  return o;
}

at::Tensor eager(const at::Tensor& q, const Cache& cache, const at::Tensor& prefix_k, const at::Tensor& prefix_v,
                 const DecodeSettings& settings) {
  const int64_t rows = q.size(0) / cache.sequences(), group = q.size(1) / cache.k.size(-2);
  std::vector<at::Tensor> outputs;
  for (int64_t s = 0; s < cache.sequences(); ++s) {
    const auto whole = [&](const at::Tensor& all, const at::Tensor& prefix) {
      at::Tensor keys = cache.of(all, s);
      if (prefix.defined()) {
        keys = at::cat({prefix.dim() == 4 ? prefix[s] : prefix, keys});
      }
      return keys.to(at::kDouble).repeat_interleave(group, 1);
    };
    const at::Tensor k = whole(cache.k, prefix_k), v = whole(cache.v, prefix_v);
    const int64_t n = cache.keys(s), prefix = k.size(0) - n;
    at::Tensor score = at::einsum("nhd,mhd->hnm", {q.narrow(0, s * rows, rows).to(at::kDouble), k}) * settings.scale;
    if (settings.softcap > 0) {
      score = settings.softcap * (score / settings.softcap).tanh();
    }
    const auto longs = at::TensorOptions(q.device()).dtype(at::kLong);
    const at::Tensor position = at::arange(n - rows, n, longs).unsqueeze(1),
                     key = at::arange(-prefix, n, longs).unsqueeze(0);
    at::Tensor hidden = key > position;
    if (settings.window > 0) {
      hidden = hidden.logical_or(key <= position - settings.window);
    }
    hidden = hidden.logical_and(key >= 0);
    const at::Tensor p = at::softmax(score.masked_fill(hidden, -INFINITY), -1).masked_fill(hidden, 0.0);
    outputs.push_back(at::einsum("hnm,mhd->nhd", {p, v}));
  }
  return at::cat(outputs).to(q.scalar_type());
}

}  // namespace

at::Tensor attention_decode(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const at::Tensor& cu_seqlens_k, int64_t max_k, const at::Tensor& block_table,
                            const at::Tensor& prefix_k, const at::Tensor& prefix_v, double scale, int64_t window,
                            double softcap) {
  check_compute_type(kAttentionDecode, "q", q);
  TORCH_CHECK(q.dim() == 3 && (q.numel() == 0 || (q.stride(2) == 1 && q.stride(1) == q.size(2))), kAttentionDecode,
              ": q must have shape [rows, heads, D] and contiguous heads, got ", q.sizes(), " with strides ",
              q.strides());
  const Cache cache{k, v, cu_seqlens_k, block_table, max_k};
  check_cache(q, cache);
  check_lengths(q, cache);
  check_prefix(q, cache, prefix_k, prefix_v);
  TORCH_CHECK(std::isfinite(scale), kAttentionDecode, ": scale must be finite, got ", scale);
  TORCH_CHECK(window >= 0, kAttentionDecode, ": window must be 0 (none) or positive, got ", window);
  TORCH_CHECK(softcap >= 0 && std::isfinite(softcap), kAttentionDecode, ": softcap must be 0 (none) or positive, got ",
              softcap);
  for (const at::Tensor& t : {q, k, v, prefix_k, prefix_v}) {
    TORCH_CHECK(!(c10::GradMode::is_enabled() && t.defined() && t.requires_grad()), kAttentionDecode,
                ": there is no gradient, but an input requires one; use attention, or a NoGradGuard");
  }
  if (q.numel() == 0) {
    return at::empty(q.sizes(), q.options());
  }
  const Provider provider = provider_of(Operation::kAttentionDecode, q);
  if (provider == Provider::kOwn) {
    const CudaKernels* kernels = cuda_kernels(q);
    if (kernels != nullptr && q.size(2) <= kWidestHead && q.size(0) * q.size(1) <= INT32_MAX) {
      return on_cuda(*kernels, q, cache, prefix_k, prefix_v, {scale, window, softcap});
    }
    if (!on_device(q)) {
      return on_cpu(q, cache, prefix_k, prefix_v, {scale, window, softcap});
    }
  }
  return eager(q, cache, prefix_k, prefix_v, {scale, window, softcap});
}

}  // namespace peft4j
