/*
The wrappers of device/ptx.h against the PTX manual's tables, in the manual's own terms (element index i of a fragment), which
are not the header's. The same tests run on a card and on the host executor.
*/
#include <cmath>

#include "device/cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {
namespace {

template <class T>
__device__ uint32_t bits_of(T x) {
  uint16_t bits;
  static_assert(sizeof bits == sizeof x);
  bits = *reinterpret_cast<const uint16_t*>(&x);
  return bits;
}

// a [16, 16], b [16, 8], d [16, 8] row by row; T is the storage of Type.
template <class Type, class T>
__global__ void multiply_16(const T* a, const T* b, float* d) {
  const int group = threadIdx.x >> 2, in_group = threadIdx.x % 4;
  uint32_t fa[4] = {}, fb[2] = {};
  for (int i = 0; i < 8; ++i) {  // two elements a register
    const int row = (i < 2 || (4 <= i && i < 6)) ? group : group + 8;
    const int column = in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
    fa[i / 2] |= bits_of(a[row * 16 + column]) << (16 * (i & 1));
  }
  for (int i = 0; i < 4; ++i) {
    const int row = in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0);
    fb[i / 2] |= bits_of(b[row * 8 + group]) << (16 * (i & 1));
  }
  float fd[4];
  for (int i = 0; i < 4; ++i) {
    fd[i] = d[(i < 2 ? group : group + 8) * 8 + in_group * 2 + (i & 1)];
  }
  mma_m16n8k16<Type>(fd, fa, fb);
  for (int i = 0; i < 4; ++i) {
    d[(i < 2 ? group : group + 8) * 8 + in_group * 2 + (i & 1)] = fd[i];
  }
}

__global__ void multiply_8(const float* a, const float* b, float* d) {
  const int group = threadIdx.x >> 2, in_group = threadIdx.x % 4;
  float fa[4], fb[2], fd[4];
  for (int i = 0; i < 4; ++i) {
    const int row = i == 0 || i == 2 ? group : group + 8, column = i < 2 ? in_group : in_group + 4;
    fa[i] = a[row * 8 + column];
    fd[i] = d[(i < 2 ? group : group + 8) * 8 + in_group * 2 + (i & 1)];
  }
  for (int i = 0; i < 2; ++i) {
    fb[i] = b[(i == 0 ? in_group : in_group + 4) * 8 + group];
  }
  mma_m16n8k8(fd, fa, fb);
  for (int i = 0; i < 4; ++i) {
    d[(i < 2 ? group : group + 8) * 8 + in_group * 2 + (i & 1)] = fd[i];
  }
}

std::vector<float> whole_numbers(size_t n, uint64_t seed) {
  std::vector<float> values;
  for (const double x : random(n, seed, 3)) {
    values.push_back(static_cast<float>(static_cast<int>(x)));
  }
  return values;
}

// Whole numbers: exact in every format and order.
std::vector<double> product(const std::vector<float>& a, const std::vector<float>& b, const std::vector<float>& d,
                            int depth) {
  std::vector<double> all(d.begin(), d.end());
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 8; ++j) {
      for (int k = 0; k < depth; ++k) {
        all[i * 8 + j] += a[i * depth + k] * b[k * 8 + j];
      }
    }
  }
  return all;
}

template <class Type, class T>
void check_16(const char* name) {
  const auto a = whole_numbers(256, 1), b = whole_numbers(128, 2), d = whole_numbers(128, 3);
  const DeviceBuffer<T> on_a(convert<T>(a), "a"), on_b(convert<T>(b), "b");
  const DeviceBuffer<float> on_d(d, "d");
  expect_success(name, PEFT4J_LAUNCH((multiply_16<Type, T>), dim3(1), dim3(32), 0, nullptr, on_a.data(), on_b.data(),
                                     on_d.data()));
  expect_close(name, wide(on_d.download()), product(a, b, d, 16), 0, 0);
}

TEST(mmaM16n8k16HasTheManualsFragments) {
  check_16<Bf16, __nv_bfloat16>("bfloat16");
  check_16<Fp16, __half>("float16");
}

TEST(mmaM16n8k8HasTheManualsFragments) {
  const auto a = whole_numbers(128, 1), b = whole_numbers(64, 2), d = whole_numbers(128, 3);
  const DeviceBuffer<float> on_a(a, "a"), on_b(b, "b"), on_d(d, "d");
  expect_success("tf32",
                 PEFT4J_LAUNCH(multiply_8, dim3(1), dim3(32), 0, nullptr, on_a.data(), on_b.data(), on_d.data()));
  expect_close("tf32", wide(on_d.download()), product(a, b, d, 8), 0, 0);
}

TEST(mmaM16n8k8RoundsToTf32) {
  std::vector<float> a(128, 0.0f), b(64, 0.0f);
  a[0] = 1 + 0x1p-11f;  // half way: away from zero
  a[8] = 1 + 0x1p-12f;  // row 1: down
  a[16] = -1 - 0x1p-11f;
  b[0] = 1;
  const DeviceBuffer<float> on_a(a, "a"), on_b(b, "b"), on_d(std::vector<float>(128, 0.0f), "d");
  expect_success("tf32",
                 PEFT4J_LAUNCH(multiply_8, dim3(1), dim3(32), 0, nullptr, on_a.data(), on_b.data(), on_d.data()));
  const auto d = on_d.download();
  REQUIRE(d[0] == 1 + 0x1p-10f);
  REQUIRE(d[8] == 1);
  REQUIRE(d[16] == -1 - 0x1p-10f);
}

// matrices [N, 8, 8] of 16-bit numbers; each lane writes its registers' halves: out [32, N, 2].
template <int N, bool Transposed>
__global__ void load(const uint16_t* in, uint16_t* out) {
  auto* s = reinterpret_cast<uint16_t*>(shared_memory());
  for (int i = threadIdx.x; i < N * 64; i += 32) {
    s[i] = in[i];
  }
  __syncwarp();
  uint32_t r[N];
  ldmatrix<N, Transposed>(r, s + (threadIdx.x % (8 * N)) * 8);
  for (int j = 0; j < N; ++j) {
    out[(threadIdx.x * N + j) * 2] = static_cast<uint16_t>(r[j]);
    out[(threadIdx.x * N + j) * 2 + 1] = static_cast<uint16_t>(r[j] >> 16);
  }
}

template <int N, bool Transposed>
void check_load() {
  std::vector<uint16_t> numbers(N * 64);
  for (size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<uint16_t>(i);
  }
  const DeviceBuffer<uint16_t> in(numbers, "in"), out(32 * N * 2, "out");
  expect_success("ldmatrix",
                 PEFT4J_LAUNCH((load<N, Transposed>), dim3(1), dim3(32), N * 128, nullptr, in.data(), out.data()));
  const auto found = out.download();
  for (int lane = 0; lane < 32; ++lane) {
    for (int j = 0; j < N; ++j) {
      for (int half = 0; half < 2; ++half) {
        const int row = lane / 4, column = lane % 4 * 2 + half;
        const int expected = j * 64 + (Transposed ? column * 8 + row : row * 8 + column);
        REQUIRE(found[(lane * N + j) * 2 + half] == expected);
      }
    }
  }
}

TEST(ldmatrixHasTheManualsFragments) {
  check_load<1, false>();
  check_load<2, false>();
  check_load<4, false>();
  check_load<1, true>();
  check_load<2, true>();
  check_load<4, true>();
}

template <int Bytes>
__global__ void copy(const char* in, char* out, int valid) {
  cp_async<Bytes>(shared_memory() + threadIdx.x * Bytes, in + threadIdx.x * Bytes, valid);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  for (int i = 0; i < Bytes; ++i) {
    out[threadIdx.x * Bytes + i] = shared_memory()[threadIdx.x * Bytes + i];
  }
}

template <int Bytes>
void check_copy() {
  std::vector<char> values(32 * Bytes);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<char>(i + 1);
  }
  for (const int valid : {0, 1, Bytes / 2, Bytes}) {
    const DeviceBuffer<char> in(values, "in"), out(32 * Bytes, "out");
    expect_success("cp_async",
                   PEFT4J_LAUNCH(copy<Bytes>, dim3(1), dim3(32), 32 * Bytes, nullptr, in.data(), out.data(), valid));
    const auto found = out.download();
    for (int i = 0; i < 32 * Bytes; ++i) {
      REQUIRE(found[i] == (i % Bytes < valid ? values[i] : 0));
    }
  }
}

TEST(cpAsyncCopiesAndFillsUp) {
  check_copy<4>();
  check_copy<8>();
  check_copy<16>();
}

__global__ void approximate(const float* x, float* out, uint4* words) {
  out[threadIdx.x] = exp2_approx(x[threadIdx.x]);
  out[blockDim.x + threadIdx.x] = reciprocal_approx(x[threadIdx.x]);
  store_16(words + threadIdx.x, make_uint4(threadIdx.x, threadIdx.x + 1, threadIdx.x + 2, threadIdx.x + 3));
}

TEST(approximationsHaveTwoUlp) {
  const std::vector<float> x = {-200, -125.5, -20.3f, -1e-20f, 0.1f, 1, 1.5, 3, 100.7f, 127.5, INFINITY, -INFINITY};
  const int n = static_cast<int>(x.size());
  const DeviceBuffer<float> in(x, "in"), out(2 * n, "out");
  const DeviceBuffer<uint4> words(n, "words");
  expect_success("approximate",
                 PEFT4J_LAUNCH(approximate, dim3(1), dim3(n), 0, nullptr, in.data(), out.data(), words.data()));
  const auto found = out.download();
  const auto close = [](double own, double exact) {
    return own == exact || std::abs(own - exact) <= 2 * 0x1p-23 * std::abs(exact) + 0x1p-126;
  };
  for (int i = 0; i < n; ++i) {
    REQUIRE(close(found[i], std::exp2(x[i])));
    REQUIRE(close(found[n + i], 1.0 / x[i]));
    const uint4 stored = words.download()[i];
    REQUIRE(stored.x == unsigned(i) && stored.y == stored.x + 1 && stored.z == stored.x + 2 &&
            stored.w == stored.x + 3);
  }
}

// Two halves of a block meet at barriers of their own, then all.
__global__ void halves(int* out) {
  auto* s = reinterpret_cast<int*>(shared_memory());
  const int half = threadIdx.x / 64, first = half * 64;
  s[threadIdx.x] = threadIdx.x;
  named_barrier(1 + half, 64);
  const int other = s[first + 63 - (threadIdx.x - first)];
  __syncthreads();
  s[threadIdx.x] = other;
  __syncthreads();
  out[threadIdx.x] = s[127 - threadIdx.x];
}

TEST(namedBarriersOrderTheirThreads) {
  const DeviceBuffer<int> out(128, "out");
  expect_success("halves", PEFT4J_LAUNCH(halves, dim3(1), dim3(128), 512, nullptr, out.data()));
  const auto found = out.download();
  for (int i = 0; i < 128; ++i) {
    const int j = 127 - i, first = j / 64 * 64;
    REQUIRE(found[i] == first + 63 - (j - first));
  }
}

__global__ void shuffles(int* out) {
  const int lane = threadIdx.x;
  int* to = out + lane * 6;
  to[0] = __shfl_sync(0xffffffffu, lane, 3);
  to[1] = __shfl_sync(0xffffffffu, lane, 9, 8);
  to[2] = __shfl_xor_sync(0xffffffffu, lane, 5);
  to[3] = __shfl_up_sync(0xffffffffu, lane, 2, 16);
  to[4] = __shfl_down_sync(0xffffffffu, lane, 2, 16);
  to[5] = static_cast<int>(__ballot_sync(0xffffffffu, lane % 3 == 0));
}

TEST(shufflesAndVotesFollowTheManual) {
  const DeviceBuffer<int> out(32 * 6, "out");
  expect_success("shuffles", PEFT4J_LAUNCH(shuffles, dim3(1), dim3(32), 0, nullptr, out.data()));
  const auto found = out.download();
  for (int lane = 0; lane < 32; ++lane) {
    const int* f = &found[lane * 6];
    REQUIRE(f[0] == 3);
    REQUIRE(f[1] == lane / 8 * 8 + 1);
    REQUIRE(f[2] == (lane ^ 5));
    REQUIRE(f[3] == (lane % 16 < 2 ? lane : lane - 2));
    REQUIRE(f[4] == (lane % 16 >= 14 ? lane : lane + 2));
    REQUIRE(static_cast<uint32_t>(f[5]) == 0x49249249u);
  }
}

__global__ void powers(const float* x, float* out) {
  out[threadIdx.x] = exp2_approx(x[threadIdx.x]);
}

TEST(exp2ApproxIsNearAndTakesInfinities) {
  const std::vector<float> x = {0, 1, -1, 0.3f, -7.7f, 127, -126, -127, -1000, -INFINITY, INFINITY, NAN};
  const DeviceBuffer<float> in(x, "x"), out(x.size(), "out");
  expect_success("powers", PEFT4J_LAUNCH(powers, dim3(1), dim3(x.size()), 0, nullptr, in.data(), out.data()));
  const auto found = out.download();
  for (size_t i = 0; i < 7; ++i) {
    REQUIRE(std::abs(found[i] - std::exp2(double{x[i]})) <= std::ldexp(std::exp2(double{x[i]}), -22));
  }
  REQUIRE(found[7] == 0 && found[8] == 0 && found[9] == 0 && found[10] == INFINITY && std::isnan(found[11]));
}

__global__ void count(int* out) {
  atomicAdd(out, 1);
  atomicMax(out + 1, static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x));
}

TEST(atomicsCountEveryThread) {
  const DeviceBuffer<int> out(std::vector<int>(2, 0), "out");
  expect_success("count", PEFT4J_LAUNCH(count, dim3(3), dim3(70), 0, nullptr, out.data()));
  REQUIRE(out.download()[0] == 210);
  REQUIRE(out.download()[1] == 209);
}

}  // namespace
}  // namespace peft4j::cuda::test
