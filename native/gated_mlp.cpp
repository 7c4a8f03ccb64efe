/* gated_mlp: checks, autograd and the slow twin (contract: peft4j.h; kernels: cpu/gated_mlp_kernel.cpp, cuda/gated_mlp.cu). */
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "checks.h"
#include "cpu/kernels.h"
#include "peft4j.h"
#include "providers.h"
#include "rows.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr const char* kGatedMlp = "gated_mlp";
constexpr const char* kActivations[] = {"silu", "gelu", "gelu_tanh", "relu"};  // in the order of Activation

// Forward, or with dy backward.
void run(const at::Tensor& gate, const at::Tensor& up, int64_t activation, const at::Tensor& y, const at::Tensor& dy,
         const at::Tensor& dgate, const at::Tensor& dup) {
  GatedMlpParams p{};
  p.dtype = gate.scalar_type();
  p.activation = static_cast<Activation>(activation);
  p.rows = gate.size(0);
  p.columns = gate.size(1);
  const auto set = [](const at::Tensor& t, auto& pointer, int64_t& stride) {
    if (t.defined()) {
      pointer = t.data_ptr();
      stride = t.stride(0);
    }
  };
  set(gate, p.gate, p.gate_stride);
  set(up, p.up, p.up_stride);
  set(y, p.y, p.y_stride);
  set(dy, p.dy, p.dy_stride);
  set(dgate, p.dgate, p.dgate_stride);
  set(dup, p.dup, p.dup_stride);
  const bool backward = dy.defined();
  if (const CudaKernels* cuda = cuda_kernels(gate)) {
    const peft4j_cuda_gated_mlp_params c{cuda_dtype(gate),
                                         static_cast<int>(activation),
                                         p.rows,
                                         p.columns,
                                         p.gate,
                                         p.up,
                                         p.dy,
                                         p.y,
                                         p.dgate,
                                         p.dup,
                                         p.gate_stride,
                                         p.up_stride,
                                         p.dy_stride,
                                         p.y_stride,
                                         p.dgate_stride,
                                         p.dup_stride};
    check_cuda((backward ? cuda->gated_mlp_backward : cuda->gated_mlp_forward)(gate, &c),
               backward ? "backward of gated_mlp" : "gated_mlp", " of gate ", gate.sizes());
  } else {
    (backward ? cpu_kernels().gated_mlp_backward : cpu_kernels().gated_mlp_forward)(p);
  }
}

struct GatedMlp : torch::autograd::Function<GatedMlp> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gate_in, const at::Tensor& up_in,
                            int64_t activation) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    const at::Tensor gate = with_contiguous_rows(gate_in), up = with_contiguous_rows(up_in);
    const at::Tensor y = rows_with_room(gate.size(0), gate.size(1), gate);
    run(gate, up, activation, y, at::Tensor(), at::Tensor(), at::Tensor());
    ctx->save_for_backward({gate, up});
    ctx->saved_data["activation"] = activation;
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView guard;
    variable_list result(3);
    if (gradients[0].defined()) {
      const variable_list kept = ctx->get_saved_variables();
      const at::Tensor &gate = kept[0], &up = kept[1], dy = with_contiguous_rows(gradients[0]);
      // One tensor behind both gradients: the linear group that made gate and up takes it as it is.
      const int64_t columns = gate.size(1);
      const at::Tensor both = rows_with_room(gate.size(0), 2 * columns, gate);
      result[0] = both.narrow(1, 0, columns);
      result[1] = both.narrow(1, columns, columns);
      run(gate, up, ctx->saved_data["activation"].toInt(), at::Tensor(), dy, result[0], result[1]);
    }
    return result;
  }
};

at::Tensor eager(const at::Tensor& gate_in, const at::Tensor& up, Activation activation) {
  const at::Tensor x = gate_in.to(at::kDouble);
  at::Tensor value;
  switch (activation) {
    case Activation::kSilu: value = x * at::sigmoid(x); break;
    case Activation::kGelu: value = x * 0.5 * (1 + at::erf(x * M_SQRT1_2)); break;
    case Activation::kGeluTanh:
      value = x * 0.5 * (1 + at::tanh(M_SQRT1_2 * M_2_SQRTPI * (x + 0.044715 * x * x * x)));
      break;
    case Activation::kRelu: value = at::relu(x); break;
  }
  return (value * up.to(at::kDouble)).to(gate_in.scalar_type());
}

}  // namespace

at::Tensor gated_mlp(const at::Tensor& gate, const at::Tensor& up, const std::string& activation) {
  check_compute_type(kGatedMlp, "gate", gate);
  TORCH_CHECK(gate.dim() == 2, kGatedMlp, ": gate must have shape [T, N], got ", gate.sizes());
  check_shape(kGatedMlp, "up", up, gate.sizes(), "that of gate");
  check_like(kGatedMlp, "up", up, "gate", gate);
  const auto* found = std::find(std::begin(kActivations), std::end(kActivations), activation);
  TORCH_CHECK(found != std::end(kActivations), kGatedMlp,
              ": activation must be one of [silu, gelu, gelu_tanh, relu], got '", activation, "'");
  const int64_t number = found - std::begin(kActivations);
  return provider_of(Operation::kGatedMlp, gate) == Provider::kOwn ? GatedMlp::apply(gate, up, number)
                                                                   : eager(gate, up, static_cast<Activation>(number));
}

}  // namespace peft4j
