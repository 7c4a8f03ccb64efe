#pragma once
/*
libpeft4j_cuda.so (cuda/), opened at the path that Java gives when the first CUDA tensor may come; libpeft4j.so itself needs
no CUDA. Where it is absent, CUDA tensors are served by libtorch's own operations.

Built by g++ against cuda/host the same library runs on the CPU (build-scripts/cuda-tests.sh): then CPU tensors take the way
of CUDA tensors. That is how the native tests go through it without a card.
*/
#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>
#include <c10/util/Exception.h>

#include <string>
#include <tuple>
#include <type_traits>

#include "../cuda/peft4j_cuda.h"
#include "peft4j.h"

namespace peft4j {

// Every function of peft4j_cuda.h that native/ calls, in its order.
#define PEFT4J_CUDA_FUNCTIONS(F) \
  F(fixed_order_sum)             \
  PEFT4J_CUDA_LORA(F)            \
  PEFT4J_CUDA_RATIONAL(F)        \
  PEFT4J_CUDA_ATTENTION(F)       \
  PEFT4J_CUDA_GEMM(F)            \
  PEFT4J_CUDA_STEP(F)
#define PEFT4J_CUDA_LORA(F) \
  F(lora_shrink_scratch)    \
  F(lora_shrink)            \
  F(lora_expand) F(lora_grad_a_scratch) F(lora_grad_a) F(lora_grad_b_scratch) F(lora_grad_b)
#define PEFT4J_CUDA_RATIONAL(F) \
  F(rational_blocks)            \
  F(rational_forward)           \
  F(rational_backward)          \
  F(softmax_pool_splits)        \
  F(softmax_pool_forward)       \
  F(softmax_pool_backward)
#define PEFT4J_CUDA_ATTENTION(F) \
  F(prefix_attention)            \
  F(prefix_attention_scratch)    \
  F(prefix_attention_backward)   \
  F(attention_decode) F(attention_decode_scratch) F(attention_forward) F(attention_backward) F(attention_scratch)
#define PEFT4J_CUDA_GEMM(F) F(dual_gemm)
#define PEFT4J_CUDA_STEP(F) \
  F(cross_entropy)          \
  F(adamw)                  \
  F(clip_grad_norm)         \
  F(clip_grad_norm_scratch) \
  F(norm_forward)           \
  F(norm_backward)          \
  F(norm_scratch) F(rotary) F(gated_mlp_forward) F(gated_mlp_backward) F(gelu_forward) F(gelu_backward) F(dropout)

// While it lives, x's device is the current one; then it is the former one again.
class OnDeviceOf {
 public:
  explicit OnDeviceOf(const at::Tensor& x);
  void* stream() const;  // libtorch's current one of that device, as peft4j_cuda.h takes it

 private:
  const at::Device device_;
  const c10::OptionalDeviceGuard guard_;
};

template <class Function>
class CudaFunction;

/*
A function of the library, called with the tensor whose device it is for, then its own arguments without the stream. The
device is the current one meanwhile, and the stream is its current one: nothing else calls the library or knows a stream, so
no launch and no question about the card can be for another device.
*/
template <class Result, class... Parameters>
class CudaFunction<Result (*)(Parameters...)> {
  using Last = std::tuple_element_t<sizeof...(Parameters) - 1, std::tuple<Parameters...>>;

 public:
  // It takes a stream. Else it only says how much scratch is wanted, or the like.
  static constexpr bool kLaunches = std::is_same_v<Last, void*>;

  CudaFunction() = default;
  CudaFunction(Result (*function)(Parameters...)) : function_(function) {}

  template <class... Arguments>
  Result operator()(const at::Tensor& x, Arguments... arguments) const {
    const OnDeviceOf device(x);
    if constexpr (kLaunches) {
      return function_(arguments..., device.stream());
    } else {
      return function_(arguments...);
    }
  }

 private:
  Result (*function_)(Parameters...) = nullptr;
};

struct CudaKernels {
#define PEFT4J_MEMBER(name) CudaFunction<decltype(&peft4j_cuda_##name)> name;
  PEFT4J_CUDA_FUNCTIONS(PEFT4J_MEMBER)
#undef PEFT4J_MEMBER
};

// What the library says of the machine's cards, whether or not libtorch can use them.
struct CudaCards {
  decltype(&peft4j_cuda_versions) versions;
  decltype(&peft4j_cuda_count_cards) count;
  decltype(&peft4j_cuda_describe_card) describe;
  decltype(&peft4j_cuda_free_bytes) free_bytes;
};

// null where the library is not loaded.
const CudaCards* cuda_cards();

// 90: 9.0. An error where the library is not loaded or has no such card.
int cuda_capability(at::DeviceIndex card);

// Our kernels run on the CPU, in a card's place: CPU tensors take the way of CUDA tensors.
bool cuda_runs_on_the_host();

// Why the library is not loaded, and what to do about it; "" if it is.
std::string missing_cuda_library();

// The kernels for x's device: null for a CPU tensor, and where the library is not loaded.
PEFT4J_API const CudaKernels* cuda_kernels(const at::Tensor& x);

// Whether x takes the way of device tensors, with or without the library.
bool on_device(const at::Tensor& x);

// 0, 1, 2 of peft4j_cuda.h.
int cuda_dtype(const at::Tensor& x);

// The message of the calling thread's last call that failed.
std::string last_cuda_error();

// Raises it with what was computed: "lora_shrink of x [512, 4096]: kernel …".
[[noreturn]] void raise_cuda(const std::string& what);

template <class... Parts>
void check_cuda(int status, const Parts&... what) {
  if (status != 0) {  // the text costs more than a launch
    raise_cuda(c10::str(what...));
  }
}

// Logs missing_cuda_library() and what serves meanwhile, once (and again after another load_cuda).
void announce_missing_cuda();

}  // namespace peft4j
