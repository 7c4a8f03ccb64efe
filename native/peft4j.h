#pragma once
/*
The native contract of peft4j: every operation that Java calls, on libtorch tensors.

Ownership   Tensors are reference counted handles; an operation keeps what its backward needs and nothing else. A Weight
            is a handle as well: it may be deleted as soon as the last forward that uses it was called.
Threads     Every function may be called from several threads at once, on different or the same frozen inputs. Work
            inside runs on libtorch's thread pool (at::set_num_threads).
Errors      A caller's mistake is a c10::Error that names operation, argument, expected and received; it is raised before
            anything is computed or allocated. JavaCPP turns it into a RuntimeException, org.peft4j.ops into the
            project's exceptions.
Letters     T packed tokens, S sequences, K and N inputs and outputs of a linear layer (in, out), r rank, H heads,
            D head size, P prefix length.
Dropout     p and seed; the mask is made again in backward from (seed, row, column), see philox.h.
Gradients   Sums run in a fixed order; the same input gives the same bits for the same number of threads.
*/
#include <ATen/core/Tensor.h>
#include <c10/util/intrusive_ptr.h>

#include <string>
#include <vector>

#define PEFT4J_API __attribute__((visibility("default")))

namespace peft4j {

class WeightImpl;

// The frozen matrix of a linear layer or of a linear group, in whatever layout products want; see weight.h.
class PEFT4J_API Weight {
 public:
  // Matrices [out_i, in] that read the same x, in the order of lora_linear's results. Kept, not copied. Those on the CPU may be used
  // on any device: the first one lays them out in its memory, once, and is the only one from then on.
  explicit Weight(const std::vector<at::Tensor>& parts);
  Weight(const Weight& other);
  ~Weight();

  at::Tensor dense() const;  // [sum of out_i, in], plain values (a copy if there are several parts)
  int64_t out() const;
  int64_t in() const;
  std::string layout() const;  // "dense" before the first product, then "packed" or "bordered"

  const c10::intrusive_ptr<WeightImpl>& impl() const { return impl_; }

 private:
  c10::intrusive_ptr<WeightImpl> impl_;
};

/*
y_i = x W_iᵀ + bias_i + Σ_j scale_j · (dropout_j(x) A_jᵀ) B_jᵀ                          (LoRA, Hu et al. 2021)

x        [T, in]: float32 or bfloat16, on CUDA also float16 (float64 for tests).
weight   the layers of a group; one result [T, out_i] for each part, all of them views of one tensor.
bias     [sum of out_i] of x's type, or undefined. It gets a gradient if it requires one.
a, b     A_j [r_j, in] and B_j [out_i, r_j], float32 (float64 if x is).
place    3 numbers for each adapter: the part i it belongs to, and the rows [begin, end) of x that it applies to. So one
         batch may hold rows of many adapters, and rows may have several (they add up).
scale    one number for each adapter.
dropout  probability of dropping an element of x on its way into A_j, for each adapter, 0 to below 1. Adapters share the
         mask's bytes: the same p gives the same mask.
W gets no gradient and none is computed; x gets one only if it requires one.
*/
PEFT4J_API std::vector<at::Tensor> lora_linear(const at::Tensor& x, const Weight& weight, const at::Tensor& bias,
                                               const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b,
                                               at::IntArrayRef place, at::ArrayRef<double> scale,
                                               at::ArrayRef<double> dropout, int64_t seed);

// x wᵀ + bias for a w that is trained itself; x [T, in], w [out, in], bias [out] or undefined, all of one type. Differentiable in
// all three. On every device by libtorch's products.
PEFT4J_API at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias);

/*
Packed attention: row i of sequence s sees the keys of sequence s, and the prefix.

q            [Tq, Hq, D]; k, v [Tk, Hkv, D], Hq a multiple of Hkv (grouped-query attention). Heads of a row are
             contiguous, rows may be strided (views of one product of a linear group).
cu_seqlens   int64 on the CPU, [S + 1], from 0, not falling, ending at Tq and Tk. A sequence may be empty.
max_q, max_k the longest sequence (host integers; a GPU's grid needs them).
prefix_k, v  undefined, [P, Hkv, D] shared by all sequences, or [S, P, Hkv, D]; seen by every row, never masked.
gate         undefined: the prefix joins the softmax of the sequence. A scalar: out = softmax(q kᵀ) v +
             gate · softmax(q prefix_kᵀ) prefix_v (LLaMA-Adapter, Zhang et al. 2023).
causal       aligned at the end (bottom right): the last query sees the last key.
window       0: none. Else a row sees keys whose distance is below window (behind it only, if causal).
softcap      0: none. Else a logit is softcap·tanh(scale·q·k / softcap), the prefix's too.
bias_table   undefined, or T5's relative bias: [buckets, Hq], float32 (float64 if q is). table[bucket, head] is added to the logit
             (behind the soft-cap) of a key of the sequence, none to the prefix's. bucket: of key position - query position,
             where the last query stands at the last key, as transformers' _relative_position_bucket has it for
             bias_bidirectional and bias_max_distance (1 to 512). It gets a gradient if it requires one.
dropout_p    of the probabilities; row of the mask: (row of q)·Hq + head, column: prefix first, then the sequence. With a
             gate each softmax has its own mask, columns from 0: the sequence's of seed, the prefix's of seed + 1.
Rows that see no key give 0. Result: [Tq, Hq, D], contiguous.
*/
PEFT4J_API at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                const at::Tensor& cu_seqlens_q, const at::Tensor& cu_seqlens_k, int64_t max_q,
                                int64_t max_k, const at::Tensor& prefix_k, const at::Tensor& prefix_v,
                                const at::Tensor& gate, bool causal, double scale, int64_t window, double softcap,
                                const at::Tensor& bias_table, bool bias_bidirectional, int64_t bias_max_distance,
                                double dropout_p, int64_t seed);

/*
Attention of the newest rows of each sequence, one or a few, against a cache that holds their keys already: generation.

q            [S·n, Hq, D], n rows for each of S sequences, n >= 1.
k, v         the cache: [Tk, Hkv, D], sequence after sequence; or paged, a pool of blocks [blocks, block size, Hkv, D]. Heads of
             a row are contiguous, rows and blocks may be strided; k and v alike.
cu_seqlens_k int64 on the CPU, [S + 1], from 0, not falling: sequence s has cu_seqlens_k[s + 1] - cu_seqlens_k[s] keys. They end
             at Tk, unless the cache is paged.
max_k        the most keys of a sequence (host integer).
block_table  undefined, or int32 [S, blocks of the longest], on q's device: where a sequence's keys are in the pool. On a CUDA
             device its values are not checked.
prefix_k, v  undefined, [P, Hkv, D] or [S, P, Hkv, D], seen by every row.
A row sees the keys up to its own: the last row all of its sequence, the one before it all but one. window as attention's.
softcap      0, or scores become softcap·tanh(score / softcap).
Rows that see no key give 0. There is no gradient. Result: [S·n, Hq, D], contiguous.
*/
PEFT4J_API at::Tensor attention_decode(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                       const at::Tensor& cu_seqlens_k, int64_t max_k, const at::Tensor& block_table,
                                       const at::Tensor& prefix_k, const at::Tensor& prefix_v, double scale,
                                       int64_t window, double softcap);

// y = norm(dropout(x) + residual)·weight + bias over the last dimension. x [T, C]; residual [T, C] or undefined; weight and
// bias [C], of x's type. Differentiable in all four.
PEFT4J_API at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight,
                                 const at::Tensor& bias, double eps, double dropout_p, int64_t seed);

/*
y = z·rstd·(weight + weight_offset) with z = dropout(x) + residual, rstd = 1/√(mean(z²) + eps) over the last dimension
(RMSNorm, Zhang & Sennrich 2019). Results {y, z}: z is the residual stream of a pre-norm block, to be handed on as the next
residual; its gradient then joins in the same backward pass. Without residual and dropout z is x itself.

x, residual    [T, C]; residual may be undefined.
weight         [C], of x's type. weight_offset: 0, or 1 where files hold weight - 1 (Gemma).
Computed in float32 and rounded once (models that round z·rstd before the weight differ in the last bit).
Differentiable in x, residual and weight.
*/
PEFT4J_API std::vector<at::Tensor> rms_norm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight,
                                            double eps, double weight_offset, double dropout_p, int64_t seed);

/*
Rotary position embedding (RoFormer, Su et al. 2021): pair j of each head of row t is turned by
positions[t]·inverse_frequencies[j] and multiplied by scaling. Results {q', k'}, contiguous.

q, k           [T, Hq, D] and [T, Hk, D] of one type. Heads of a row are contiguous, rows may be strided.
positions      [T], int32 or int64.
inverse_frequencies   [R/2], float32 (float64 if q is); R <= D numbers of a head are turned, the rest stays. Longer contexts
               (linear, Llama 3, YaRN) are other frequencies; scaling is YaRN's attention factor, else 1.
interleaved    pairs are (2j, 2j + 1) (GPT-J), else (j, j + R/2) (Llama, GPT-NeoX).
Angles are float32, also for 16-bit q. Differentiable in q and k; backward turns back and keeps neither.
*/
PEFT4J_API std::vector<at::Tensor> rotary(const at::Tensor& q, const at::Tensor& k, const at::Tensor& positions,
                                          const at::Tensor& inverse_frequencies, double scaling, bool interleaved);

/*
y = act(gate)∘up (GLU variants, Shazeer 2020). gate, up [T, N]; rows may be strided (views of one product of a linear group).
activation: "silu", "gelu" (erf), "gelu_tanh" or "relu". Differentiable in both; their gradients are views of one [T, 2N] tensor,
as the backward of a linear group wants them. Kept for backward: gate and up.
*/
PEFT4J_API at::Tensor gated_mlp(const at::Tensor& gate, const at::Tensor& up, const std::string& activation);

// x·Φ(x) with the exact Φ (erf), any shape.
PEFT4J_API at::Tensor gelu(const at::Tensor& x);

// x [T, C] with elements dropped with probability p and the rest scaled.
PEFT4J_API at::Tensor dropout(const at::Tensor& x, double p, int64_t seed);

/*
The loss of each row under a head of V classes, without logits [T, V] in memory. With

    z = hidden Wᵀ + bias + Σ_j scale_j · (dropout_j(hidden) A_jᵀ) B_jᵀ,  then softcap·tanh(z / softcap) if softcap is not 0,

it is -(1 - label_smoothing)·log softmax(z)[label] - label_smoothing·mean(log softmax(z)). Of z a chunk of rows exists at a time.

hidden   [T, d]: float32 or bfloat16 (CUDA also float16; float64 for tests).
weight   [V, d], frozen: gets no gradient, and none is computed.
bias     [V] of hidden's type, or undefined.
a, b, place, scale, dropout, seed   low-rank updates of the head, as lora_linear takes them; place's rows are rows of hidden. Their
         rank's own products are libtorch's on every device. An adapter without rows gets no gradient.
labels   [T], int64 on the CPU: the class of the row (for a language model shifted already), or -100: the row is left out.
softcap  0: none. label_smoothing from 0 to below 1.
Result: [T], float32 (float64 if hidden is); 0 where the row is left out, which gets no gradient and gives none.

Differentiable in hidden, bias, the A's and the B's; the incoming gradient is each row's weight. So a mean is losses.sum() / labels, and
log-probabilities are -losses. As long as neither bias nor a B requires a gradient, those of hidden and of the A's are made in
forward and kept, [labelled rows, d], and backward multiplies them; else backward makes the logits once more, and kept are
arguments.
*/
PEFT4J_API at::Tensor token_losses(const at::Tensor& hidden, const Weight& weight, const at::Tensor& bias,
                                   const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b,
                                   at::IntArrayRef place, at::ArrayRef<double> scale, at::ArrayRef<double> dropout,
                                   int64_t seed, const at::Tensor& labels, double softcap, double label_smoothing);

// The same for a head that is trained itself: w [V, d] and bias [V] or undefined, of hidden's type. z = hidden wᵀ + bias, as linear has
// it; differentiable in all three. The gradient of w is added up in float32 over the chunks.
PEFT4J_API at::Tensor token_losses(const at::Tensor& hidden, const at::Tensor& w, const at::Tensor& bias,
                                   const at::Tensor& labels, double softcap, double label_smoothing);

/*
y = P(x) / Q(x), a learned activation             (Molina et al. 2020; in groups of channels: KAT, Yang & Wang 2024)

x            [..., C], any shape.
numerator    [G or 1, m + 1]: P(x) = Σ a_i xⁱ; float32 (float64 if x is), m from 1 to 7. Channel c takes row c / (C / G);
             one row is shared by all.
denominator  [G or 1, n], n from 1 to 6; of version C [G or 1, n + 1].
version      "A": Q = 1 + Σ_{j≥1} |b_j|·|x|ʲ    "B": Q = 1 + |Σ_{j≥1} b_j xʲ|    "C": Q = 0.1 + |Σ_{j≥0} b_j xʲ|
             "D": B in training, each coefficient of each element multiplied by noise of its own, uniform over (0.9, 1.1), made
             from seed (again in backward; cuda/rational.cu has its definition). Without training D is B.
Differentiable in all three tensors; the slope of |u| at 0 is 1. A result is finite where the true value is a number of
float32; infinities give NaN.
*/
PEFT4J_API at::Tensor rational(const at::Tensor& x, const at::Tensor& numerator, const at::Tensor& denominator,
                               const std::string& version, int64_t seed);

/*
Soft tokens for each sequence, made from the hidden rows of its instruction             (IAPT, Zhu et al. 2024)
    z = h W_downᵀ + b_down;  a = softmax of z W_poolᵀ over a sequence's instruction rows;  c = aᵀ z  [S, P, m]
    p = rational(c) W_upᵀ + b_up

h                 [T, d], packed.
cu_seqlens        int64 on the CPU, [S + 1], from 0, not falling, ending at T.
instruction       [T], bool or uint8, on the CPU; not 0 for the rows that are pooled. No other row has any influence, and its
                  gradient is 0. A sequence without instruction rows (it may be empty) has c = 0: p = rational(0) W_upᵀ + b_up.
down_weight, down_bias, pool_weight   [m, d], [m] or undefined, [P, m]; P to 8192, m to 2²⁰.
numerator, denominator, version, seed   as rational takes them; its x is c.
up_weight, up_bias   [d, m], [d] or undefined.
Parameters are float32 (float64 if h is). z is computed in h's type on a device and in float32 on a CPU, the rest in float32.
Result: [S, P, d] of h's type; differentiable in h and all parameters. Kept for backward: h, z, the weights a, c and
rational(c); not the instruction rows of h, which are gathered again.
*/
PEFT4J_API at::Tensor prompt_generator(const at::Tensor& h, const at::Tensor& cu_seqlens, const at::Tensor& instruction,
                                       const at::Tensor& down_weight, const at::Tensor& down_bias,
                                       const at::Tensor& pool_weight, const at::Tensor& numerator,
                                       const at::Tensor& denominator, const std::string& version, int64_t seed,
                                       const at::Tensor& up_weight, const at::Tensor& up_bias);

// One step of AdamW (Loshchilov & Hutter 2019) for all tensors, in place: parameters, first and second moments, with learning
// rate, decay and step for each tensor. A tensor's step counts from 1 the steps that it took part in: the bias of its moments
// depends on them, not on those of the run. On CUDA also writes what bordered weights hold of them.
PEFT4J_API void adamw(const std::vector<at::Tensor>& parameters, const std::vector<at::Tensor>& gradients,
                      const std::vector<at::Tensor>& exp_avg, const std::vector<at::Tensor>& exp_avg_sq,
                      at::ArrayRef<double> learning_rate, at::ArrayRef<double> weight_decay, at::IntArrayRef step,
                      double beta1, double beta2, double eps);

// Scales the gradients so that their joint 2-norm is at most max_norm (0: only measures). Returns the norm before.
PEFT4J_API double clip_grad_norm(const std::vector<at::Tensor>& gradients, double max_norm);
// The same without waiting for a device: the norm is one number, float64, where the gradients are.
PEFT4J_API at::Tensor clip_grad_norm_unread(const std::vector<at::Tensor>& gradients, double max_norm);

// A read-only tensor over bytes [offset, offset + size) of a file, memory-mapped; a misaligned one is copied.
// dtype: safetensors' name (F32, BF16, F16, F64, I64, …).
PEFT4J_API at::Tensor map_tensor(const std::string& file, int64_t offset, at::IntArrayRef shape,
                                 const std::string& dtype);

/*
Memory of a device. CPU: what libtorch's allocator of the CPU's memory, which is ours (memory.cpp), has given out and not got back,
and the most there ever was since reset_peak_bytes. CUDA: the same of libtorch's allocator of that card.
*/
PEFT4J_API int64_t live_bytes(at::Device device);
PEFT4J_API int64_t peak_bytes(at::Device device);
PEFT4J_API void reset_peak_bytes(at::Device device);
// Memory of freed tensors that is kept for the next ones, and giving it back to the system.
PEFT4J_API int64_t kept_bytes(at::Device device);
PEFT4J_API void free_kept_blocks(at::Device device);

// Bytes of a card that nobody in the system has. Makes this process's context there, as its first tensor does.
PEFT4J_API int64_t free_bytes(at::Device card);

// Bytes that libtorch's CPU allocator has given out and not got back, and the most there ever were since reset_peak.
PEFT4J_API int64_t live_bytes();
PEFT4J_API int64_t peak_bytes();
PEFT4J_API void reset_peak_bytes();

// Memory of freed tensors that is kept for the next ones (block_cache.h), in bytes, and giving it back to the system. Kept is at
// most what tensors have once used more than now: a step of training takes again what the one before gave back.
PEFT4J_API int64_t kept_bytes();
PEFT4J_API void free_kept_blocks();

// Which implementation runs; see providers.h. kernels_in_use: lines "operation TAB provider TAB reason".
PEFT4J_API void set_kernels(const std::string& setting);
PEFT4J_API std::string kernels_in_use();       // on the CPU
PEFT4J_API std::string cuda_kernels_in_use();  // on a CUDA device, as far as its libraries are there
PEFT4J_API std::string kernels_in_use(at::Device device);  // with the forms of own kernels that this card has

// Whether libtorch's attention on CUDA devices must give gradients that are the same bits in each run. At first: yes. No: its
// backward may be faster, and it may use cuDNN. Our own kernels' gradients are the same bits always.
PEFT4J_API void set_deterministic(bool on);
PEFT4J_API bool deterministic();

// Opens libpeft4j_cuda.so, our kernels for CUDA devices; an error says why not. "": forgets it.
PEFT4J_API void load_cuda(const std::string& path);

// The cards of this machine, lines "index TAB name TAB compute capability TAB total bytes TAB CUDA version of the driver TAB of
// libpeft4j_cuda.so"; takes nothing of any of them. "" where the library is not open or sees none.
PEFT4J_API std::string cuda_devices();
// "" if at least one of them can be computed on. Else what is missing and what to do: the library, a driver, a newer driver, a card
// of compute capability 8.0, libtorch's own libraries for CUDA.
PEFT4J_API std::string missing_cuda();

// Takes what users should know although it is no error, one line a call, from any thread. null: libtorch's warnings.
using Logger = void (*)(const char* line);
PEFT4J_API void set_logger(Logger logger);

PEFT4J_API std::string cpu_capability();  // of our kernels: DEFAULT, AVX2, AVX512, AVX512_BF16
PEFT4J_API bool cpu_has_bfloat16();  // native bfloat16 products
PEFT4J_API std::string build_info();  // compiler, libtorch version

}  // namespace peft4j
