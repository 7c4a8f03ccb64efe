#include <cmath>
#include <memory>

#include "peft4j_cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {
namespace {

struct Gradients {
  std::vector<std::vector<double>> values;
  std::vector<std::unique_ptr<DeviceBuffer<float>>> buffers;
  std::vector<peft4j_cuda_gradient> list;

  // Every second one begins beside an aligned address.
  explicit Gradients(const std::vector<int64_t>& sizes) {
    for (size_t k = 0; k < sizes.size(); ++k) {
      add(convert<float>(random(sizes[k], k)), k % 2);
    }
  }

  void add(std::vector<float> numbers, int64_t offset) {
    values.push_back(wide(numbers));
    numbers.insert(numbers.begin(), offset, 0.0f);
    buffers.push_back(std::make_unique<DeviceBuffer<float>>(numbers, "gradient"));
    list.push_back({buffers.back()->data() + offset, static_cast<int64_t>(numbers.size()) - offset});
  }

  double clip(double max_norm) {
    const auto n = static_cast<int64_t>(list.size());
    const DeviceBuffer<double> norm(1, "norm");
    const DeviceBuffer<float> scratch(peft4j_cuda_clip_grad_norm_scratch(list.data(), n), "scratch");
    expect_success("clip_grad_norm",
                   peft4j_cuda_clip_grad_norm(norm.data(), list.data(), n, max_norm, scratch.data(), nullptr));
    return norm.download()[0];
  }

  std::vector<double> now(size_t k) const {
    const std::vector<double> all = wide(buffers[k]->download());
    return {all.end() - list[k].n, all.end()};
  }
};

// More tensors than a launch takes, empty ones among them, and some of several chunks.
std::vector<int64_t> many_sizes() {
  std::vector<int64_t> sizes = {8192, 8193, 30001};
  for (int i = 0; i < 15; ++i) {
    sizes.insert(sizes.end(), kSizes.begin(), kSizes.end());
  }
  return sizes;
}

TEST(clipGradNormScalesToTheNorm) {
  Gradients g(many_sizes());
  double squares = 0;
  for (const std::vector<double>& values : g.values) {
    for (const double x : values) {
      squares += x * x;
    }
  }
  const double norm = std::sqrt(squares);
  const auto close = [](double a, double b) { return std::abs(a - b) <= 1e-6 * b; };
  const double first = g.clip(0);
  REQUIRE(close(first, norm));
  REQUIRE(g.clip(2 * norm) == first);
  for (size_t k = 0; k < g.list.size(); ++k) {
    REQUIRE(g.now(k) == g.values[k]);
  }
  REQUIRE(g.clip(1.5) == first);
  for (size_t k = 0; k < g.list.size(); ++k) {
    std::vector<double> expected = g.values[k];
    for (double& x : expected) {
      x *= 1.5 / norm;
    }
    expect_close(text("gradient ", k), g.now(k), expected, 0, 1e-7);
  }
  REQUIRE(close(g.clip(0), 1.5));
}

TEST(clipGradNormOfNothingAndOfNaN) {
  REQUIRE(Gradients({}).clip(1) == 0);
  REQUIRE(Gradients({0, 0}).clip(1) == 0);
  Gradients g({3});
  g.add({1, NAN}, 0);
  REQUIRE(std::isnan(g.clip(1)));
  REQUIRE(g.now(0) == g.values[0]);
}

}  // namespace
}  // namespace peft4j::cuda::test
