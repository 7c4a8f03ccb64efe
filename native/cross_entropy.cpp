#include "cross_entropy.h"

#include <ATen/ATen.h>

#include "checks.h"
#include "cpu/kernels.h"

namespace peft4j {
namespace {

void by_cuda(const CudaKernels& cuda, const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& losses,
             double softcap, double smoothing, bool gradient) {
  peft4j_cuda_cross_entropy_params p{};
  p.logits = logits.data_ptr();
  p.labels = labels.data_ptr<int64_t>();
  p.loss = losses.data_ptr<float>();
  p.rows = logits.size(0);
  p.columns = logits.size(1);
  p.row_stride = logits.stride(0);
  p.dtype = cuda_dtype(logits);
  p.gradient = gradient;
  p.softcap = static_cast<float>(softcap);
  p.smoothing = static_cast<float>(smoothing);
  check_cuda(cuda.cross_entropy(logits, &p), c10::str("cross_entropy of logits ", logits.sizes()));
}

void by_cpu(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& losses, double softcap,
            double smoothing, bool gradient) {
  CrossEntropyParams p{};
  p.dtype = logits.scalar_type();
  p.rows = logits.size(0);
  p.columns = logits.size(1);
  p.logits = logits.data_ptr();
  p.row_stride = logits.stride(0);
  p.labels = labels.data_ptr<int64_t>();
  p.softcap = softcap;
  p.smoothing = smoothing;
  p.gradient = gradient;
  p.loss = losses.data_ptr();
  cpu_kernels().cross_entropy(p);
}

// By at:: calls, for few rows at a time: they make copies in the compute type.
void by_library(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& losses, double softcap,
                double smoothing, bool gradient) {
  const int64_t n = logits.size(0), slice = (n + 15) / 16;
  const double kept = 1 - smoothing;
  for (int64_t begin = 0; begin < n; begin += slice) {
    const int64_t count = std::min(slice, n - begin);
    const at::Tensor x = logits.narrow(0, begin, count), label = labels.narrow(0, begin, count).unsqueeze(1);
    at::Tensor z = x.to(losses.scalar_type());
    if (softcap > 0) {
      z = softcap * (z / softcap).tanh();
    }
    const at::Tensor log_sum = z.logsumexp(1, true);
    losses.narrow(0, begin, count)
        .copy_((log_sum - kept * z.gather(1, label) - smoothing * z.mean(1, true)).squeeze(1));
    if (gradient) {
      at::Tensor dz = (z - log_sum).exp_();
      dz.sub_(smoothing / static_cast<double>(z.size(1)));
      dz.scatter_add_(1, label, at::full(label.sizes(), -kept, dz.options()));
      x.copy_(softcap > 0 ? dz * (1 - (z / softcap).square()) : dz);
    }
  }
}

}  // namespace

void cross_entropy(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& losses, double softcap,
                   double smoothing, bool gradient, Provider provider) {
  if (provider != Provider::kOwn) {
    by_library(logits, labels, losses, softcap, smoothing, gradient);
  } else if (const CudaKernels* cuda = cuda_kernels(logits)) {
    by_cuda(*cuda, logits, labels, losses, softcap, smoothing, gradient);
  } else {
    by_cpu(logits, labels, losses, softcap, smoothing, gradient);
  }
}

}  // namespace peft4j
