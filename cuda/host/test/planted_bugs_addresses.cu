/* Mistakes with indexes that do not fit 32 bits, planted as in planted_bugs.cu, and numbers that are read too often. */
#include "planted.h"

namespace peft4j::cuda::test {
namespace {

constexpr int64_t kFar = (int64_t{1} << 31) + 64;  // elements

__global__ void index_of_32_bits(const float* in, float* out, unsigned stride) {
  for (unsigned row = 0; row < 3; ++row) {
    out[row] = in[row * stride];  // PLANTED: of the row 2, 128 elements from the begin
  }
}

__global__ void stride_of_32_bits(const float* in, float* out, int64_t stride) {
  for (int64_t row = 0; row < 3; ++row) {
    out[row] = in[row * static_cast<int>(stride)];  // PLANTED: below the begin
  }
}

__global__ void index_of_64_bits(const float* in, float* out, int64_t stride) {
  for (int64_t row = 0; row < 3; ++row) {
    out[row] = in[row * stride];
  }
}

TEST(reportsAnIndexThatDoesNotFit32Bits) {
  const DeviceBuffer<float> in(2 * kFar + 1, "in"), out(3, "out");
  for (float row = 0; row < 3; ++row) {
    in.upload(&row, static_cast<int64_t>(row) * kFar, 1);
  }
  expect_success("64 bits", RUN(index_of_64_bits, 1, 1, 0, in.data(), out.data(), kFar));
  REQUIRE(out.download() == (std::vector<float>{0, 1, 2}));
  expect_report(RUN(index_of_32_bits, 1, 1, 0, in.data(), out.data(), unsigned{kFar}),
                {"in + 512, which nobody has written"});
  expect_report(RUN(stride_of_32_bits, 1, 1, 0, in.data(), out.data(), kFar), {"belongs to no allocation"});
}

__global__ void product_overflows(const float* in, float* out, int rows, int stride) {
  out[0] = in[rows * stride];  // PLANTED
}

__global__ void sum_overflows(const float* in, float* out, int begin, int more) {
  out[0] = in[begin + more];  // PLANTED
}

__global__ void shift_too_far(const float* in, float* out, int bits, int) {
  out[0] = in[1 << bits];  // PLANTED
}

TEST(reportsSignedArithmeticThatOverflows) {
  const DeviceBuffer<float> in(std::vector<float>(1), "in"), out(1, "out");
  expect_report(RUN(product_overflows, 1, 1, 0, in.data(), out.data(), 1 << 16, 1 << 15), {"a product of signed"});
  expect_report(RUN(sum_overflows, 1, 1, 0, in.data(), out.data(), 0x7fffffff, 1), {"a sum of signed"});
  expect_report(RUN(shift_too_far, 1, 1, 0, in.data(), out.data(), 32, 0), {"a shift"});
}

// A window of 8 keys before each row's own; `first` says from where the keys are walked.
__global__ void sums_of_windows(const float* keys, float* out, bool from_the_begin) {
  const int row = static_cast<int>(threadIdx.x), first = row < 8 ? 0 : row - 8;
  float sum = 0;
  for (int i = from_the_begin ? 0 : first; i <= row; ++i) {
    sum += i >= first ? keys[i] : 0 * keys[i];
  }
  out[row] = sum;
}

TEST(countsWhatAKernelReads) {
  const DeviceBuffer<float> keys(std::vector<float>(256, 1), "keys"), out(256, "out");
  const auto read_by = [&](bool from_the_begin) {
    const uint64_t before = host::bytes_read(keys.data());
    expect_success("sums_of_windows", RUN(sums_of_windows, 1, 256, 0, keys.data(), out.data(), from_the_begin));
    REQUIRE(out.download()[255] == 9);
    return (host::bytes_read(keys.data()) - before) / sizeof(float);
  };
  REQUIRE(read_by(false) == 36 + 248 * 9);
  REQUIRE(read_by(true) == 256 * 257 / 2);  // the same sums
}

}  // namespace
}  // namespace peft4j::cuda::test
