/*
prompt_generator: checks, autograd and the slow twin (contract: peft4j.h).

Four operations, joined by autograd: the down projection of the instruction rows, softmax_pool, rational, the up projection. The
projections are the library's products. Backward gathers the instruction rows again from h, which the layer keeps anyway: copies
of them would be I·d numbers a layer, where z, the weights of the pooling, c and rational(c) are I·(m + P) + 2·S·P·m.
*/
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "checks.h"
#include "library_product.h"
#include "onednn.h"
#include "optional.h"
#include "peft4j.h"
#include "providers.h"
#include "rational.h"
#include "softmax_pool.h"
#include "to_device.h"
#include "version.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr const char* kPromptGenerator = "prompt_generator";

// The instruction rows of a batch, packed.
struct InstructionRows {
  at::Tensor index;  // of h, on its device; undefined: they are all of its rows
  at::Tensor begin;  // [S + 1], as softmax_pool takes it
  int64_t longest;
};

InstructionRows find_rows(const at::Tensor& instruction, const at::Tensor& cu, const at::Tensor& h) {
  const at::Tensor chosen = instruction.to(at::kBool);
  const at::Tensor before = at::cat({at::zeros({1}, at::kLong), chosen.cumsum(0)});
  const at::Tensor begin = before.index_select(0, cu), index = chosen.nonzero().squeeze(1);
  const auto there = [&](const at::Tensor& t, at::ScalarType type) { return to_device(t, type, h.device()); };
  return {index.size(0) == h.size(0) ? at::Tensor() : there(index, at::kLong),
          there(begin, on_device(h) ? at::kInt : at::kLong),
          begin.numel() == 1 ? 0 : begin.diff().max().item<int64_t>()};
}

// All layers of a model ask with the same tensors: the last answer is kept for each thread.
InstructionRows instruction_rows(const at::Tensor& instruction, const at::Tensor& cu, const at::Tensor& h) {
  if (!on_device(h)) {
    return find_rows(instruction, cu, h);
  }
  struct Last {
    at::Tensor instruction, cu;
    int64_t instruction_version = 0, cu_version = 0;
    InstructionRows rows;
  };
  thread_local Last last;
  if (!last.instruction.is_same(instruction) || !last.cu.is_same(cu) ||
      last.instruction_version != version_of(instruction) || last.cu_version != version_of(cu) ||
      last.rows.begin.device() != h.device()) {
    last = {instruction, cu, version_of(instruction), version_of(cu), find_rows(instruction, cu, h)};
  }
  return last.rows;
}

// x wᵀ + bias; bias may be undefined. On a CPU by oneDNN, which is faster than libtorch's own (library_product.cpp).
at::Tensor product(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias = at::Tensor()) {
  if (onednn::usable(x)) {
    return onednn::linear(x, w, bias);
  }
  return bias.defined() ? library::addmm(bias, x, w.t()) : library::mm(x, w.t());
}

// x[index] Wᵀ + b, in x's type on a device, in the compute type on a CPU. Bias and index are optional: Function cannot take
// undefined tensors.
struct Projection : torch::autograd::Function<Projection> {
  static at::Tensor rows_of(const at::Tensor& x, const at::Tensor& index) {
    const at::Tensor rows = index.defined() ? x.index_select(0, index) : x;
    return on_device(x) ? rows : rows.to(compute_type(x));
  }

  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>& index) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    ctx->save_for_backward({x, weight, index.value_or(at::Tensor())});
    ctx->saved_data["has_bias"] = bias.has_value();
    const at::Tensor rows = rows_of(x, index.value_or(at::Tensor()));
    const at::ScalarType type = rows.scalar_type();
    return product(rows, weight.to(type), bias ? bias->to(type) : at::Tensor());
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView guard;
    variable_list result(4);
    if (!gradients[0].defined()) {
      return result;
    }
    const variable_list kept = ctx->get_saved_variables();
    const at::Tensor &x = kept[0], &weight = kept[1], &index = kept[2], dy = gradients[0].contiguous();
    if (ctx->needs_input_grad(0)) {
      const at::Tensor rows = product(dy, weight.to(dy.scalar_type()).t()).to(x.scalar_type());
      result[0] = index.defined() ? at::zeros(x.sizes(), x.options()).index_copy_(0, index, rows) : rows;
    }
    if (ctx->needs_input_grad(1)) {
      result[1] = product(dy.t(), rows_of(x, index).t()).to(weight.scalar_type());
    }
    if (ctx->saved_data["has_bias"].toBool() && ctx->needs_input_grad(2)) {
      result[2] = dy.sum(0, false, weight.scalar_type());
    }
    return result;
  }
};

at::Tensor projection(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      const at::Tensor& index = at::Tensor()) {
  return Projection::apply(x, weight, optional(bias), optional(index));
}

// One sequence after the other, in double.
at::Tensor eager(const at::Tensor& h, const at::Tensor& cu, const at::Tensor& instruction,
                 const at::Tensor& down_weight, const at::Tensor& down_bias, const at::Tensor& pool_weight,
                 const at::Tensor& numerator, const at::Tensor& denominator, char version, int64_t seed,
                 const at::Tensor& up_weight, const at::Tensor& up_bias) {
  const int64_t* begin = cu.data_ptr<int64_t>();
  const auto projected = [](const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    const at::Tensor y = at::matmul(x, weight.to(at::kDouble).t());
    return bias.defined() ? y + bias.to(at::kDouble) : y;
  };
  variable_list pooled;
  for (int64_t s = 0; s + 1 < cu.numel(); ++s) {
    const int64_t rows = begin[s + 1] - begin[s];
    const at::Tensor index = instruction.narrow(0, begin[s], rows).nonzero().squeeze(1).to(h.device());
    const at::Tensor x = h.narrow(0, begin[s], rows).index_select(0, index).to(at::kDouble);
    const at::Tensor z = projected(x, down_weight, down_bias);
    const at::Tensor a = at::softmax(projected(z, pool_weight, at::Tensor()), 0);
    pooled.push_back(at::mm(a.t(), z));  // a sum over no rows is 0
  }
  const at::Tensor c = pooled.empty() ? pool_weight.to(at::kDouble).unsqueeze(0).narrow(0, 0, 0) : at::stack(pooled);
  const at::Tensor g = eager_rational(c, numerator, denominator, version, seed);
  return projected(g, up_weight, up_bias).to(h.scalar_type());
}

std::string described(const at::Tensor& t) {
  return t.defined() ? c10::str(t.scalar_type(), " ", t.sizes(), " on ", t.device()) : "nothing";
}

void check_packing(const at::Tensor& h, const at::Tensor& cu, const at::Tensor& instruction) {
  const int64_t rows = h.size(0);
  check_cu_seqlens(kPromptGenerator, "cu_seqlens", cu, rows, "h");
  TORCH_CHECK(instruction.defined() && instruction.dim() == 1 && instruction.size(0) == rows &&
                  (instruction.scalar_type() == at::kBool || instruction.scalar_type() == at::kByte) &&
                  instruction.is_cpu(),
              kPromptGenerator, ": instruction must be bool or uint8 [", rows, "] (the rows of h) on the CPU, got ",
              described(instruction));
  TORCH_CHECK(rows <= INT32_MAX, kPromptGenerator, ": at most ", INT32_MAX, " rows, got ", rows);
}

void check_parameter(const char* name, const at::Tensor& t, at::IntArrayRef shape, const char* letters,
                     const at::Tensor& h) {
  TORCH_CHECK(t.defined(), kPromptGenerator, ": ", name, " is undefined");
  check_shape(kPromptGenerator, name, t, shape, letters);
  TORCH_CHECK(t.scalar_type() == compute_type(h), kPromptGenerator, ": ", name, " must be ", compute_type(h),
              " for h of ", h.scalar_type(), ", got ", t.scalar_type());
  TORCH_CHECK(t.device() == h.device(), kPromptGenerator, ": h is on ", h.device(), " but ", name, " is on ",
              t.device());
}

// The rows of a parameter that decides a size.
int64_t size_from(const char* name, const at::Tensor& t, const char* letters, int64_t most) {
  TORCH_CHECK(t.defined() && t.dim() == 2 && t.size(0) >= 1 && t.size(0) <= most, kPromptGenerator, ": ", name,
              " must have shape ", letters, " with 1 to ", most, " rows, got ", described(t));
  return t.size(0);
}

}  // namespace

at::Tensor prompt_generator(const at::Tensor& h, const at::Tensor& cu_seqlens, const at::Tensor& instruction,
                            const at::Tensor& down_weight, const at::Tensor& down_bias, const at::Tensor& pool_weight,
                            const at::Tensor& numerator, const at::Tensor& denominator, const std::string& version,
                            int64_t seed, const at::Tensor& up_weight, const at::Tensor& up_bias) {
  check_compute_type(kPromptGenerator, "h", h);
  TORCH_CHECK(h.dim() == 2 && h.size(1) > 0, kPromptGenerator, ": h must have shape [T, d], got ", h.sizes());
  check_packing(h, cu_seqlens, instruction);
  const int64_t d = h.size(1), m = size_from("down_weight", down_weight, "[m, d]", kMostPoolWidth),
                tokens = size_from("pool_weight", pool_weight, "[P, m]", kMostPoolTokens);
  check_parameter("down_weight", down_weight, {m, d}, "[m, d]", h);
  check_parameter("pool_weight", pool_weight, {tokens, m}, "[P, m]", h);
  check_parameter("up_weight", up_weight, {d, m}, "[d, m]", h);
  if (down_bias.defined()) {
    check_parameter("down_bias", down_bias, {m}, "[m]", h);
  }
  if (up_bias.defined()) {
    check_parameter("up_bias", up_bias, {d}, "[d]", h);
  }
  check_rational(kPromptGenerator, "h", h, m, numerator, denominator, version);
  if (provider_of(Operation::kPromptGenerator, h) != Provider::kOwn) {
    return eager(h, cu_seqlens, instruction, down_weight, down_bias, pool_weight, numerator, denominator, version[0],
                 seed, up_weight, up_bias);
  }
  const InstructionRows rows = instruction_rows(instruction, cu_seqlens, h);
  const at::Tensor z = projection(h, down_weight, down_bias, rows.index);
  const at::Tensor c = softmax_pool(z, pool_weight, rows.begin, rows.longest);
  const at::Tensor g = rational(c, numerator, denominator, version, seed).flatten(0, 1);
  return projection(g, up_weight, up_bias).view({c.size(0), tokens, d}).to(h.scalar_type());
}

}  // namespace peft4j
