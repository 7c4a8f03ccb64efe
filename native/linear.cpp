/* linear: checks and autograd (contract: peft4j.h); its products are the library's, or on a CPU our own where it is thin. */
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "checks.h"
#include "library_product.h"
#include "optional.h"
#include "peft4j.h"
#include "thin_product.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr const char* kLinear = "linear";

struct Linear : torch::autograd::Function<Linear> {
  // The bias is optional: Function cannot take an undefined tensor.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& w,
                            const std::optional<at::Tensor>& bias) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    ctx->save_for_backward({x, w});
    ctx->saved_data["has_bias"] = bias.has_value();
    if (thin::takes(x, w)) {
      return thin::product(x, w, bias.value_or(at::Tensor()));
    }
    const at::Tensor y = library::mm(x, w.t());
    return bias ? y.add_(*bias) : y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView guard;
    variable_list result(3);
    const at::Tensor& dy = gradients[0];
    if (!dy.defined()) {
      return result;
    }
    const variable_list kept = ctx->get_saved_variables();
    const at::Tensor &x = kept[0], &w = kept[1];
    const bool thin = thin::takes(x, w);
    if (ctx->needs_input_grad(0)) {
      result[0] = thin ? thin::input_gradient(dy, w) : library::mm(dy, w);
    }
    if (ctx->needs_input_grad(1)) {
      result[1] = thin ? thin::weight_gradient(dy, x) : library::mm(dy.t(), x);
    }
    if (ctx->saved_data["has_bias"].toBool() && ctx->needs_input_grad(2)) {
      result[2] = dy.sum(0);
    }
    return result;
  }
};

}  // namespace

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  check_linear(kLinear, "x", x, w, bias);
  return Linear::apply(x, w, optional(bias));
}

}  // namespace peft4j
