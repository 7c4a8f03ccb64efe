#include "onednn.h"

#include <ATen/ATen.h>
#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

namespace at::native {  // of MKLDNNCommon.h, which the headers' package leaves out
TORCH_API void* data_ptr_from_mkldnn(const Tensor& mkldnn_tensor);
TORCH_API int64_t nbytes_from_mkldnn(const Tensor& mkldnn_tensor);
}  // namespace at::native

namespace peft4j::onednn {
namespace {

c10::OperatorHandle operator_named(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
}

// Whether this processor's oneDNN has bfloat16 products: libtorch knows, and raises an error where it has none.
bool has_bfloat16() {
  static const bool answer = [] {
    try {
      pack(at::zeros({16, 16}, at::kBFloat16));
      return true;
    } catch (const c10::Error&) {
      return false;
    }
  }();
  return answer;
}

}  // namespace

bool usable(const at::Tensor& x) {
  return x.is_cpu() && x.numel() > 0 &&
         (x.scalar_type() == at::kFloat || (x.scalar_type() == at::kBFloat16 && has_bfloat16()));
}

at::Tensor pack(const at::Tensor& w) {
  static const c10::OperatorHandle op = operator_named("mkldnn::_reorder_linear_weight");
  torch::jit::Stack stack{w, c10::IValue()};  // no batch size: it changes from step to step
  op.callBoxed(&stack);
  return stack[0].toTensor();
}

std::pair<const void*, int64_t> data_of(const at::Tensor& packed) {
  return {at::native::data_ptr_from_mkldnn(packed), at::native::nbytes_from_mkldnn(packed)};
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  static const c10::OperatorHandle op = operator_named("mkldnn::_linear_pointwise");
  torch::jit::Stack stack{x.contiguous(),
                          w,
                          bias.defined() ? c10::IValue(bias) : c10::IValue(),
                          "none",
                          c10::List<std::optional<at::Scalar>>(),
                          c10::IValue()};
  op.callBoxed(&stack);
  return stack[0].toTensor();
}

}  // namespace peft4j::onednn
