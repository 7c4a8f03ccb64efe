#include "peft4j_cuda.h"
#include "test/activation.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {
namespace {

constexpr int kGelu = 1;

template <class T>
void check(const std::vector<double>& values, int shift) {
  const std::string what = text(sizeof(T), " bytes, n ", values.size(), " shift ", shift);
  const auto x = convert<T>(values), dy = convert<T>(random(values.size(), 2));
  const int64_t n = static_cast<int64_t>(values.size());
  std::vector<double> y, dx, plain_y, plain_dx;
  const auto round = [](double v) { return static_cast<double>(static_cast<float>(T(static_cast<float>(v)))); };
  for (int64_t i = 0; i < n; ++i) {
    const double one = static_cast<float>(x[i]), gradient = static_cast<float>(dy[i]);
    y.push_back(activation(kGelu, one));
    plain_y.push_back(round(one * round(y.back() / (one == 0 ? 1 : one))));
    dx.push_back(gradient * activation_slope(kGelu, one));
    plain_dx.push_back(round(gradient * round(activation_slope(kGelu, one))));
  }
  const auto shifted = [&](std::vector<T> all) {
    all.insert(all.begin(), shift, T(0.0f));
    return all;
  };
  const auto behind = [&](const std::vector<T>& all) { return std::vector<T>(all.begin() + shift, all.end()); };
  const DeviceBuffer<T> x_in(shifted(x), "x"), dy_in(shifted(dy), "dy"), out(n + shift, "y"), dx_out(n + shift, "dx");
  expect_success(what, peft4j_cuda_gelu_forward(kDtype<T>, n, x_in.data() + shift, out.data() + shift, nullptr));
  expect_by_rule(what + " y", behind(out.download()), y, plain_y);
  expect_success(what, peft4j_cuda_gelu_backward(kDtype<T>, n, x_in.data() + shift, dy_in.data() + shift,
                                                 dx_out.data() + shift, nullptr));
  expect_by_rule(what + " dx", behind(dx_out.download()), dx, plain_dx);
  expect_success(what, peft4j_cuda_gelu_forward(kDtype<T>, n, x_in.data() + shift, x_in.data() + shift, nullptr));
  REQUIRE(wide(behind(x_in.download())) == wide(behind(out.download())));
}

TEST(geluFollowsItsFormula) {
  std::vector<int64_t> sizes = kSizes;
  sizes.insert(sizes.end(), {8, 16, 2048, 4104});
  for (const int64_t n : sizes) {
    for (const int shift : {0, 1}) {
      check<float>(random(n, 1, 2), shift);
      check<__nv_bfloat16>(random(n, 1, 2), shift);
      check<__half>(random(n, 1, 2), shift);
    }
  }
}

TEST(geluAtTheEnds) {
  const std::vector<double> x = {-1e30, -100, -14, -6, -1e-20, 0, 1e-20, 6, 14, 100, 1e30, 2.5};
  std::vector<double> y, slope;
  for (const double one : x) {
    y.push_back(one < -50 ? 0 : activation(kGelu, one));
    slope.push_back(one < -50 ? 0 : one > 50 ? 1 : activation_slope(kGelu, one));
  }
  const DeviceBuffer<float> in(convert<float>(x), "x"), one(std::vector<float>(x.size(), 1), "dy"), out(x.size(), "y"),
      dx(x.size(), "dx");
  expect_success("forward",
                 peft4j_cuda_gelu_forward(0, static_cast<int64_t>(x.size()), in.data(), out.data(), nullptr));
  expect_success("backward", peft4j_cuda_gelu_backward(0, static_cast<int64_t>(x.size()), in.data(), one.data(),
                                                       dx.data(), nullptr));
  auto found = wide(out.download());
  for (size_t i = 0; i < x.size(); ++i) {  // relative where large
    found[i] /= std::max(1.0, std::abs(x[i]));
    y[i] /= std::max(1.0, std::abs(x[i]));
  }
  expect_close("y / |x|", found, y, 0, 2e-7);
  expect_close("slope", wide(dx.download()), slope, 0, 1e-6);
}

}  // namespace
}  // namespace peft4j::cuda::test
