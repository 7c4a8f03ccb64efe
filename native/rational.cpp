/* rational: checks, autograd and the slow twin (contract: peft4j.h; kernels: cpu/rational_kernel.cpp, cuda/rational.cu). */
#include "rational.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "checks.h"
#include "cpu/kernels.h"
#include "peft4j.h"
#include "philox.h"
#include "providers.h"

namespace peft4j {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr const char* kRational = "rational";

int64_t channels_of(const at::Tensor& x) {
  return x.dim() == 0 ? 1 : x.size(-1);
}

// What the parameters of the CPU's and of the CUDA kernels have in common.
template <class Params>
Params make_params(const at::Tensor& x, const at::Tensor& numerator, const at::Tensor& denominator, char version,
                   int64_t seed) {
  Params p{};
  p.version = version;
  p.m = static_cast<int>(numerator.size(1)) - 1;
  p.n = static_cast<int>(denominator.size(1)) - (version == 'C' ? 1 : 0);
  p.channels = channels_of(x);
  p.rows = x.numel() / p.channels;
  p.groups = std::max(numerator.size(0), denominator.size(0));
  p.numerator_stride = numerator.size(0) == 1 ? 0 : numerator.size(1);
  p.denominator_stride = denominator.size(0) == 1 ? 0 : denominator.size(1);
  p.seed = static_cast<uint64_t>(seed);
  p.x = x.data_ptr();
  return p;
}

RationalParams cpu_params(const at::Tensor& x, const at::Tensor& numerator, const at::Tensor& denominator, char version,
                          int64_t seed) {
  auto p = make_params<RationalParams>(x, numerator, denominator, version, seed);
  p.dtype = x.scalar_type();
  p.numerator = numerator.data_ptr();
  p.denominator = denominator.data_ptr();
  return p;
}

peft4j_cuda_rational_params cuda_params(const at::Tensor& x, const at::Tensor& numerator, const at::Tensor& denominator,
                                        char version, int64_t seed) {
  auto p = make_params<peft4j_cuda_rational_params>(x, numerator, denominator, version, seed);
  p.dtype = cuda_dtype(x);
  p.numerator = numerator.data_ptr<float>();
  p.denominator = denominator.data_ptr<float>();
  return p;
}

std::string described(const at::Tensor& x, const at::Tensor& numerator, const at::Tensor& denominator) {
  return c10::str(kRational, " of x ", x.sizes(), ", numerator ", numerator.sizes(), ", denominator ",
                  denominator.sizes());
}

// like [rows, columns] = the sum of partials [blocks, groups, columns] over the blocks, and over the groups if rows is 1.
at::Tensor summed(const CudaKernels& cuda, const at::Tensor& partials, const at::Tensor& like,
                  const std::string& what) {
  const at::Tensor sum = at::empty_like(like);
  check_cuda(cuda.fixed_order_sum(partials, sum.data_ptr<float>(), partials.data_ptr<float>(), sum.numel(),
                                  partials.numel() / sum.numel(), 0),
             what);
  return sum;
}

struct Rational : torch::autograd::Function<Rational> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x_in, const at::Tensor& numerator_in,
                            const at::Tensor& denominator_in, char version, int64_t seed) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->set_materialize_grads(false);
    const at::Tensor x = x_in.contiguous(), numerator = numerator_in.contiguous(),
                     denominator = denominator_in.contiguous(), y = at::empty_like(x);
    ctx->save_for_backward({x, numerator, denominator});
    ctx->saved_data["version"] = static_cast<int64_t>(version);
    ctx->saved_data["seed"] = seed;
    if (x.numel() == 0) {
      return y;
    }
    if (const CudaKernels* cuda = cuda_kernels(x)) {
      auto p = cuda_params(x, numerator, denominator, version, seed);
      p.y = y.data_ptr();
      check_cuda(cuda->rational_forward(x, &p), described(x, numerator, denominator));
    } else {
      auto p = cpu_params(x, numerator, denominator, version, seed);
      p.y = y.data_ptr();
      cpu_kernels().rational_forward(p);
    }
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    at::AutoDispatchBelowADInplaceOrView guard;
    variable_list result(5);
    if (!gradients[0].defined()) {
      return result;
    }
    const variable_list kept = ctx->get_saved_variables();
    const at::Tensor &x = kept[0], &numerator = kept[1], &denominator = kept[2], dy = gradients[0].contiguous();
    const char version = static_cast<char>(ctx->saved_data["version"].toInt());
    const int64_t seed = ctx->saved_data["seed"].toInt();
    const bool wants_x = ctx->needs_input_grad(0), wants_numerator = ctx->needs_input_grad(1),
               wants_denominator = ctx->needs_input_grad(2);
    if (x.numel() == 0) {
      return {at::zeros_like(x), at::zeros_like(numerator), at::zeros_like(denominator), at::Tensor(), at::Tensor()};
    }
    if (wants_x) {
      result[0] = at::empty_like(x);
    }
    if (const CudaKernels* cuda = cuda_kernels(x)) {
      auto p = cuda_params(x, numerator, denominator, version, seed);
      const int64_t blocks = cuda->rational_blocks(x, p.rows, p.channels, p.groups);
      at::Tensor numerator_partials, denominator_partials;
      p.dy = dy.data_ptr();
      p.dx = wants_x ? result[0].data_ptr() : nullptr;
      if (wants_numerator) {
        numerator_partials = at::empty({blocks, p.groups, numerator.size(1)}, numerator.options());
        p.numerator_partials = numerator_partials.data_ptr<float>();
      }
      if (wants_denominator) {
        denominator_partials = at::empty({blocks, p.groups, denominator.size(1)}, denominator.options());
        p.denominator_partials = denominator_partials.data_ptr<float>();
      }
      const std::string what = "backward of " + described(x, numerator, denominator);
      check_cuda(cuda->rational_backward(x, &p), what);
      result[1] = wants_numerator ? summed(*cuda, numerator_partials, numerator, what) : at::Tensor();
      result[2] = wants_denominator ? summed(*cuda, denominator_partials, denominator, what) : at::Tensor();
    } else {
      auto p = cpu_params(x, numerator, denominator, version, seed);
      result[1] = wants_numerator ? at::empty_like(numerator) : at::Tensor();
      result[2] = wants_denominator ? at::empty_like(denominator) : at::Tensor();
      p.dy = dy.data_ptr();
      p.dx = wants_x ? result[0].data_ptr() : nullptr;
      p.dnumerator = wants_numerator ? result[1].data_ptr() : nullptr;
      p.ddenominator = wants_denominator ? result[2].data_ptr() : nullptr;
      cpu_kernels().rational_backward(p);
    }
    return result;
  }
};

// sg: its gradient is 0, so |t| = t·sg(t) has the slope 1 at 0, where at::abs has 0.
at::Tensor magnitude(const at::Tensor& t) {
  return t * at::where(t >= 0, 1.0, -1.0).to(t.options());
}

// [elements, 16]: the noise of coefficient k, k = i for a_i and 7 + j for b_j.
at::Tensor noise_of(int64_t elements, int64_t seed, const at::Device& device) {
  const at::Tensor noise = at::empty({elements, 16}, at::kDouble);
  double* to = noise.data_ptr<double>();
  for (int64_t e = 0; e < elements; ++e) {
    const auto words = mask_words(static_cast<uint32_t>(e), uint64_t{1} << 63 | static_cast<uint64_t>(e) >> 32,
                                  static_cast<uint64_t>(seed));
    for (int k = 0; k < 16; ++k) {
      const int byte = static_cast<int>(words[k / 4] >> (8 * (k % 4)) & 255);
      *to++ = 1 + (2 * byte - 255) * 3277 / 8388608.0;
    }
  }
  return noise.to(device);
}

void check_coefficients(const char* operation, const char* name, const at::Tensor& t, const char* like_name,
                        const at::Tensor& like, int64_t least, int64_t most) {
  TORCH_CHECK(t.defined(), operation, ": ", name, " is undefined");
  TORCH_CHECK(t.dim() == 2 && t.size(0) >= 1 && t.size(1) >= least && t.size(1) <= most, operation, ": ", name,
              " must have shape [G or 1, ", least, " to ", most, "], got ", t.sizes());
  TORCH_CHECK(t.scalar_type() == compute_type(like), operation, ": ", name, " must be ", compute_type(like), " for ",
              like_name, " of ", like.scalar_type(), ", got ", t.scalar_type());
  TORCH_CHECK(t.device() == like.device(), operation, ": ", like_name, " is on ", like.device(), " but ", name,
              " is on ", t.device());
}

}  // namespace

void check_rational(const char* operation, const char* name, const at::Tensor& like, int64_t channels,
                    const at::Tensor& numerator, const at::Tensor& denominator, const std::string& version) {
  constexpr int64_t kMostGroups = 65535;  // a CUDA grid's second dimension
  TORCH_CHECK(version.size() == 1 && version[0] >= 'A' && version[0] <= 'D', operation,
              ": version must be one of [A, B, C, D], got '", version, "'");
  const int64_t b0 = version == "C" ? 1 : 0;
  check_coefficients(operation, "numerator", numerator, name, like, 2, 8);
  check_coefficients(operation, "denominator", denominator, name, like, 1 + b0, 6 + b0);
  const int64_t groups = std::max(numerator.size(0), denominator.size(0));
  TORCH_CHECK(groups <= kMostGroups, operation, ": at most ", kMostGroups, " groups, got ", groups);
  for (const at::Tensor& t : {numerator, denominator}) {
    TORCH_CHECK(t.size(0) == 1 || t.size(0) == groups, operation, ": numerator has ", numerator.size(0),
                " rows and denominator ", denominator.size(0), "; a row for each group, or one for all");
  }
  TORCH_CHECK(channels % groups == 0, operation, ": ", channels, " channels do not divide into ", groups,
              " groups (rows of numerator or denominator)");
}

at::Tensor eager_rational(const at::Tensor& x_in, const at::Tensor& numerator, const at::Tensor& denominator,
                          char version, int64_t seed) {
  const int64_t groups = std::max(numerator.size(0), denominator.size(0)), channels = channels_of(x_in);
  if (x_in.numel() == 0) {
    return x_in * (numerator.sum() + denominator.sum()).to(x_in.scalar_type());
  }
  const at::Tensor x = x_in.to(at::kDouble).reshape({-1, groups, channels / groups});
  const at::Tensor noise = version == 'D' ? noise_of(x.numel(), seed, x.device()) : at::Tensor();
  const auto coefficient = [&](const at::Tensor& all, int64_t column, int64_t k) {
    const at::Tensor c = all.to(at::kDouble).select(1, column).reshape({-1, 1});
    return noise.defined() ? c * noise.select(1, k).reshape(x.sizes()) : c;
  };
  const int64_t first = version == 'C' ? 0 : 1, m = numerator.size(1) - 1, n = denominator.size(1) - 1 + first;
  at::Tensor p = coefficient(numerator, m, m);
  for (int64_t i = m - 1; i >= 0; --i) {
    p = p * x + coefficient(numerator, i, i);
  }
  const bool is_a = version == 'A';
  const auto b = [&](int64_t j) {
    const at::Tensor c = coefficient(denominator, j - first, 7 + j);
    return is_a ? magnitude(c) : c;
  };
  const at::Tensor z = is_a ? magnitude(x) : x;
  at::Tensor u = b(n);
  for (int64_t j = n - 1; j >= first; --j) {
    u = u * z + b(j);
  }
  u = first == 1 ? u * z : u;
  const at::Tensor q = (version == 'C' ? 0.1 : 1.0) + (is_a ? u : magnitude(u));
  return (p / q).reshape(x_in.sizes()).to(x_in.scalar_type());
}

at::Tensor rational(const at::Tensor& x, const at::Tensor& numerator, const at::Tensor& denominator,
                    const std::string& version, int64_t seed) {
  check_compute_type(kRational, "x", x);
  check_rational(kRational, "x", x, channels_of(x), numerator, denominator, version);
  return provider_of(Operation::kRational, x) == Provider::kOwn
             ? Rational::apply(x, numerator, denominator, version[0], seed)
             : eager_rational(x, numerator, denominator, version[0], seed);
}

}  // namespace peft4j
