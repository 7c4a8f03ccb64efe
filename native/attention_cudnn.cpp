#include "attention_cudnn.h"

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <bit>
#include <map>
#include <mutex>

#include "device_lengths.h"

namespace peft4j {
namespace {

constexpr int kTimes = 10;
constexpr int64_t kWidestCudnnHead = 128;

c10::OperatorHandle operator_named(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
}

bool keeps_graphs() {
  static const bool answer = [] {
    for (const c10::Argument& argument : operator_named("aten::_cudnn_attention_forward").schema().arguments()) {
      if (argument.name() == "block_table") {
        return true;
      }
    }
    return false;
  }();
  return answer;
}

// Boxed: later libtorches have more arguments, which get their defaults.
torch::jit::Stack call(const char* name, torch::jit::Stack stack) {
  const c10::OperatorHandle op = operator_named(name);
  const auto& arguments = op.schema().arguments();
  for (size_t i = stack.size(); i < arguments.size(); ++i) {
    stack.push_back(arguments[i].default_value().value_or(c10::IValue()));
  }
  op.callBoxed(&stack);
  return stack;
}

// Zeros behind the rows of t, so that there are `rows`.
at::Tensor with_rows(const at::Tensor& t, int64_t rows) {
  return at::constant_pad_nd(t, {0, 0, 0, 0, 0, rows - t.size(0)}).contiguous();
}

}  // namespace

int64_t cudnn_bucket(int64_t n) {
  const int64_t step = n < 8 ? 1 : static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(n))) / 8;
  return (n + step - 1) / step * step;
}

bool cudnn_met_often(const std::vector<int64_t>& key) {
  static std::mutex mutex;
  static std::map<std::vector<int64_t>, int> met;
  const std::lock_guard<std::mutex> lock(mutex);
  int& times = met[key];
  times = std::min(times + 1, kTimes + 1);
  return times > kTimes;
}

at::Tensor cudnn_lengths(const at::Tensor& cu, int64_t sequences, int64_t rows) {
  return at::constant_pad_nd(cu, {0, sequences + 1 - cu.numel()}, rows);
}

bool cudnn_takes(const at::Tensor& q, const at::Tensor& k, const at::Tensor& cu_q, const at::Tensor& cu_k,
                 const AttentionSettings& settings) {
  const at::ScalarType type = q.scalar_type();
  const int64_t rows = cudnn_bucket(q.size(0)), heads = q.size(1), d = q.size(2);
  return q.is_cuda() && (type == at::kBFloat16 || type == at::kHalf) && at::globalContext().userEnabledCuDNNSDP() &&
         !deterministic() && !at::globalContext().deterministicAlgorithms() && keeps_graphs() && settings.window == 0 &&
         d % 8 == 0 && d <= kWidestCudnnHead && settings.max_q > 1 &&
         rows * heads * d <= INT32_MAX &&  // offsets are 32-bit
         at::equal(cu_q, cu_k) &&  // its causal mask begins at the top left
         cudnn_met_often({q.device().index(), static_cast<int64_t>(type), rows, cudnn_bucket(cu_q.numel() - 1),
                          cudnn_bucket(settings.max_q), heads, k.size(1), d, settings.causal});
}

std::vector<at::Tensor> cudnn_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                      const at::Tensor& cu_q, const AttentionSettings& settings) {
  const int64_t rows = q.size(0), all = cudnn_bucket(rows), longest = cudnn_bucket(settings.max_q);
  const at::Tensor cu = cudnn_lengths(device_lengths(cu_q, q.device()), cudnn_bucket(cu_q.numel() - 1), rows);
  const auto out = call("aten::_cudnn_attention_forward",
                        {with_rows(q, all), with_rows(k, all), with_rows(v, all), c10::IValue(), cu, cu, longest,
                         longest, true, 0.0, settings.causal, false, settings.scale});
  return {out[0].toTensor().narrow(0, 0, rows), out[1].toTensor().narrow(1, 0, rows).t(), out[6].toTensor(),
          out[7].toTensor(), cu};
}

std::vector<at::Tensor> cudnn_backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                       const at::Tensor& dout, const at::Tensor& o, const at::Tensor& lse,
                                       at::ArrayRef<at::Tensor> state, const AttentionSettings& settings) {
  const int64_t rows = q.size(0), all = cudnn_bucket(rows), longest = cudnn_bucket(settings.max_q);
  const at::Tensor lse_by_head = at::constant_pad_nd(lse.t(), {0, all - rows}).contiguous();
  const auto out = call(
      "aten::_cudnn_attention_backward",
      {with_rows(dout, all), with_rows(q, all), with_rows(k, all), with_rows(v, all), with_rows(o, all), lse_by_head,
       state[0], state[1], at::Tensor(), state[2], state[2], longest, longest, 0.0, settings.causal, settings.scale});
  std::vector<at::Tensor> gradients;
  for (const c10::IValue& gradient : out) {
    gradients.push_back(gradient.toTensor().narrow(0, 0, rows));
  }
  return gradients;
}

}  // namespace peft4j
