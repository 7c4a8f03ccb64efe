#include "peft4j_cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {
namespace {

using Doubles = std::vector<double>;

struct Case {
  int64_t rows, query_heads, key_heads, head_size, rotary;
  bool interleaved, backward, wide_positions, in_place;
  int64_t gap = 0;  // between rows

  std::string what() const {
    return text(rows, " rows, ", query_heads, " + ", key_heads, " heads of ", head_size, ", ", rotary, " turned",
                interleaved ? ", interleaved" : "", backward ? ", backward" : "", wide_positions ? ", int64" : "",
                in_place ? ", in place" : "", ", gap ", gap);
  }
};

constexpr double kScaling = 1.25;

// x [rows, heads·head_size], turned; in place the gaps behind its rows stay, else there are none in the result.
template <class Round>
Doubles turned(const Case& c, const Doubles& x, int64_t heads, const std::vector<int64_t>& positions,
               const std::vector<float>& frequencies, const Round& round) {
  Doubles y;
  const int64_t width = heads * c.head_size;
  for (int64_t row = 0; row < c.rows; ++row) {
    const auto begin = x.begin() + row * (width + c.gap);
    const size_t first = y.size();
    y.insert(y.end(), begin, begin + width + (c.in_place ? c.gap : 0));
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t j = 0; j < c.rotary / 2; ++j) {
        const size_t at = first + h * c.head_size + (c.interleaved ? 2 * j : j),
                     other = at + (c.interleaved ? 1 : c.rotary / 2);
        const double a = y[at], b = y[other];
        const double angle = round(static_cast<double>(positions[row]) * frequencies[j]);
        const double cosine = round(kScaling * std::cos(angle)),
                     sine = round(kScaling * std::sin(angle)) * (c.backward ? -1 : 1);
        y[at] = round(round(a * cosine) - round(b * sine));
        y[other] = round(round(b * cosine) + round(a * sine));
      }
    }
  }
  return y;
}

template <class T>
void check(const Case& c) {
  const std::string what = text(sizeof(T), " bytes, ", c.what());
  const int64_t q_stride = c.query_heads * c.head_size + c.gap, k_stride = c.key_heads * c.head_size + c.gap;
  const Doubles q = wide(convert<T>(random(c.rows * q_stride, 1))), k = wide(convert<T>(random(c.rows * k_stride, 2)));
  std::vector<int64_t> positions(c.rows);
  std::vector<float> frequencies(c.rotary / 2);
  for (int64_t row = 0; row < c.rows; ++row) {
    positions[row] = row * row * 37 % 5000;
  }
  for (size_t j = 0; j < frequencies.size(); ++j) {
    frequencies[j] =
        static_cast<float>(std::pow(10000.0, -2.0 * static_cast<double>(j) / static_cast<double>(c.rotary)));
  }
  const DeviceBuffer<T> q_in(convert<T>(q), "q"), k_in(convert<T>(k), "k"),
      q_new(c.rows * c.query_heads * c.head_size, "q'"), k_new(c.rows * c.key_heads * c.head_size, "k'");
  const DeviceBuffer<T>&q_out = c.in_place ? q_in : q_new, &k_out = c.in_place ? k_in : k_new;
  const DeviceBuffer<int64_t> wide_positions(positions, "positions");
  const DeviceBuffer<int32_t> narrow_positions(std::vector<int32_t>(positions.begin(), positions.end()), "positions");
  const DeviceBuffer<float> inverse(frequencies, "frequencies");
  peft4j_cuda_rotary_params p{};
  p.dtype = kDtype<T>;
  p.interleaved = c.interleaved;
  p.backward = c.backward;
  p.wide_positions = c.wide_positions;
  p.rows = c.rows;
  p.query_heads = c.query_heads;
  p.key_heads = c.key_heads;
  p.head_size = c.head_size;
  p.rotary = c.rotary;
  p.q = q_in.data();
  p.k = k_in.data();
  p.q_out = q_out.data();
  p.k_out = k_out.data();
  p.q_stride = q_stride;
  p.k_stride = k_stride;
  p.q_out_stride = c.in_place ? q_stride : c.query_heads * c.head_size;
  p.k_out_stride = c.in_place ? k_stride : c.key_heads * c.head_size;
  p.positions = c.wide_positions ? static_cast<const void*>(wide_positions.data()) : narrow_positions.data();
  p.inverse_frequencies = inverse.data();
  p.scaling = kScaling;
  expect_success(what, peft4j_cuda_rotary(&p, nullptr));
  const auto exact = [](double x) { return x; };
  const auto rounded = [](double x) { return static_cast<double>(static_cast<float>(T(static_cast<float>(x)))); };
  const auto expect = [&](const char* name, const DeviceBuffer<T>& own, const Doubles& x, int64_t heads) {
    expect_by_rule(what + name, own.download(), turned(c, x, heads, positions, frequencies, exact),
                   turned(c, x, heads, positions, frequencies, rounded));
  };
  expect(", q", q_out, q, c.query_heads);
  expect(", k", k_out, k, c.key_heads);
}

void check_all(const Case& c) {
  check<float>(c);
  check<__nv_bfloat16>(c);
  check<__half>(c);
}

// Vectors and single pairs, both pairings, heads that are turned whole and in part.
TEST(rotaryRunsInEveryInstance) {
  for (const bool interleaved : {false, true}) {
    for (const bool in_place : {false, true}) {
      check_all({3, 4, 2, 64, 64, interleaved, false, false, in_place, 8});
      check_all({3, 3, 1, 80, 32, interleaved, true, true, in_place, 8});
      check_all({3, 3, 1, 10, 6, interleaved, false, true, in_place, 1});
    }
  }
}

TEST(rotaryTurnsEveryShape) {
  const std::vector<int64_t> rows = {1, 0, 2, 33, 7};
  const std::vector<std::vector<int64_t>> heads = {{1, 1}, {32, 8}, {3, 0}, {2, 2}, {0, 1}};
  const std::vector<std::vector<int64_t>> sizes = {{2, 2},     {6, 2},    {64, 64},   {64, 16}, {80, 80},    {96, 96},
                                                   {128, 128}, {128, 64}, {256, 256}, {66, 66}, {1100, 1030}};
  const std::vector<int64_t> gaps = {0, 16, 3};
  for (const std::vector<int>& k : pairwise({5, 5, 11, 2, 2, 2, 2, 3})) {
    const Case c{rows[k[0]], heads[k[1]][0], heads[k[1]][1], sizes[k[2]][0], sizes[k[2]][1],
                 k[3] == 1,  k[4] == 1,      k[5] == 1,      k[6] == 1,      gaps[k[7]]};
    if (c.head_size < 200 || c.rows < 3) {
      check<__nv_bfloat16>(c);
    }
  }
}

TEST(rotaryTurnsBack) {
  const auto x = convert<float>(random(5 * 3 * 32, 1));
  const DeviceBuffer<float> q(x, "q"), k(x, "k"), inverse(convert<float>(random(16, 2)), "frequencies");
  const DeviceBuffer<int64_t> positions(std::vector<int64_t>{0, 1, 7, 1000, 131071}, "positions");
  peft4j_cuda_rotary_params p{};
  p.wide_positions = 1;
  p.rows = 5;
  p.query_heads = p.key_heads = 3;
  p.head_size = p.rotary = 32;
  p.q = p.q_out = q.data();
  p.k = p.k_out = k.data();
  p.q_stride = p.k_stride = p.q_out_stride = p.k_out_stride = 96;
  p.positions = positions.data();
  p.inverse_frequencies = inverse.data();
  p.scaling = 1;
  expect_success("there", peft4j_cuda_rotary(&p, nullptr));
  p.backward = 1;
  expect_success("back", peft4j_cuda_rotary(&p, nullptr));
  expect_close("there and back", wide(q.download()), wide(x), 0, 1e-6);
}

}  // namespace
}  // namespace peft4j::cuda::test
