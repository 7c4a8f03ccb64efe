/* rotary: both pairings, whole and partial heads, strided rows. */
#include "check.h"

namespace peft4j::test {
namespace {

// inputs: q, k, inverse frequencies
Operation operation_of(int64_t rows, int64_t query_heads, int64_t key_heads, int64_t head_size, int64_t half,
                       bool interleaved, bool trains_q, bool trains_k) {
  Operation o;
  o.what = text("[", rows, ", ", query_heads, " and ", key_heads, ", ", head_size, "] half ", half, " interleaved ",
                interleaved, " trains ", trains_q, trains_k);
  o.inputs = {random({rows, query_heads, head_size}, 1), random({rows, key_heads, head_size}, 2),
              random({half}, 3).abs()};
  o.trained = {trains_q, trains_k, false};
  o.wide = {false, false, true};
  const at::Tensor positions = at::arange(rows, interleaved ? at::kInt : at::kLong) * 7;
  o.run = [=](const Tensors& in, at::ScalarType) {
    return peft4j::rotary(in[0], in[1], positions, in[2], 1.5, interleaved);
  };
  o.plain = [=](const Tensors& in, at::ScalarType type) {
    const at::Tensor angle = (positions.to(in[2].scalar_type()).unsqueeze(1) * in[2]).unsqueeze(1);
    const at::Tensor c = (angle.cos() * 1.5).to(type), s = (angle.sin() * 1.5).to(type);
    const auto turn = [&](const at::Tensor& x) {
      const at::Tensor head = x.narrow(2, 0, 2 * half), rest = x.narrow(2, 2 * half, head_size - 2 * half);
      const at::Tensor pairs =
          interleaved ? head.unflatten(2, {half, 2}) : head.unflatten(2, {2, half}).transpose(2, 3);
      const at::Tensor a = pairs.select(3, 0), b = pairs.select(3, 1);
      const at::Tensor turned = at::stack({a * c - b * s, b * c + a * s}, 3);
      return at::cat({(interleaved ? turned : turned.transpose(2, 3)).flatten(2), rest}, 2);
    };
    return Tensors{turn(in[0]), turn(in[1])};
  };
  return o;
}

TEST(rotaryFollowsItsFormula) {
  const std::vector<int64_t> rows = {0, 1, 2, 33};
  const std::vector<std::vector<int64_t>> heads = {{1, 1}, {4, 2}, {8, 1}, {3, 0}};
  const std::vector<std::vector<int64_t>> sizes = {{2, 1},   {6, 2},    {64, 32}, {80, 16},
                                                   {96, 48}, {128, 64}, {34, 17}, {8, 0}};
  for (const std::vector<int>& c : pairwise({4, 4, 8, 2, 3})) {
    compare(operation_of(rows[c[0]], heads[c[1]][0], heads[c[1]][1], sizes[c[2]][0], sizes[c[2]][1], c[3] == 1,
                         c[4] != 1, c[4] != 2));
  }
}

TEST(rotaryThroughCudasKernels) {
  CudaOnTheHost library;
  for (const bool interleaved : {false, true}) {
    for (const std::vector<int64_t>& size : std::vector<std::vector<int64_t>>{{64, 32}, {80, 16}, {10, 3}}) {
      Operation o = operation_of(5, 4, 2, size[0], size[1], interleaved, true, !interleaved);
      o.types = {at::kFloat, at::kBFloat16};
      compare(o);
      const Tensors half = results(o, o.run, at::kHalf, false), single = results(o, o.run, at::kFloat, false);
      for (size_t i = 0; i < half.size(); ++i) {
        expect_close(text("float16, result ", i), half[i].to(at::kFloat), single[i], 1e-2);
      }
    }
  }
}

// Llama's and GPT-J's apply_rotary_pos_emb, by build-scripts/fixtures/norm_rotary.py
TEST(rotaryEqualsTransformers) {
  const at::Tensor q = at::tensor({1.0f, -2.0f, 0.5f, 3.0f, 0.25f, 0.125f, -0.75f, 4.0f}).view({2, 1, 4});
  const at::Tensor positions = at::tensor({3, 1000}, at::kLong), frequencies = at::tensor({1.0f, 0.01f});
  expect_close("halves", peft4j::rotary(q, q, positions, frequencies, 1, false)[0],
               at::tensor({-1.06055248f, -2.08908653f, -0.353876233f, 2.93865919f, 0.760754466f, 2.07120061f,
                           -0.215064391f, -3.42428875f})
                   .view({2, 1, 4}),
               0, 2e-6);
  expect_close("interleaved", peft4j::rotary(q, q, positions, frequencies, 1, true)[1],
               at::tensor({-0.707752466f, 2.12110496f, 0.409788519f, 3.01364779f, 0.0372348204f, 0.277017266f,
                           2.80538821f, -2.94827032f})
                   .view({2, 1, 4}),
               0, 2e-6);
}

TEST(rotaryTakesViewsOfOneProduct) {
  const at::Tensor product = random({9, 8 * 16}, 1).to(at::kFloat), positions = at::arange(9),
                   f = random({8}, 2).to(at::kFloat);
  const at::Tensor q = product.narrow(1, 0, 64).view({9, 4, 16}), k = product.narrow(1, 64, 32).view({9, 2, 16});
  const Tensors views = peft4j::rotary(q, k, positions, f, 1, false),
                copies = peft4j::rotary(q.contiguous(), k.contiguous(), positions, f, 1, false);
  expect_same_bits("q", views[0], copies[0]);
  expect_same_bits("k", views[1], copies[1]);
}

TEST(rotaryRefuses) {
  const at::Tensor q = random({4, 2, 8}, 1).to(at::kFloat), k = random({4, 1, 8}, 2).to(at::kFloat);
  const at::Tensor positions = at::arange(4), f = at::ones({4});
  const auto refused = [&](const char* what, const at::Tensor& q_in, const at::Tensor& k_in, const at::Tensor& at_in,
                           const at::Tensor& f_in, double scaling, std::vector<std::string> pieces) {
    pieces.push_back("rotary");
    expect_error(what, [&] { peft4j::rotary(q_in, k_in, at_in, f_in, scaling, false); }, pieces);
  };
  refused("flat", q.flatten(1), k, positions, f, 1, {"q", "[T, heads, D]", "[4, 16]"});
  refused("k undefined", q, at::Tensor(), positions, f, 1, {"k is undefined"});
  refused("rows", q, k.narrow(0, 0, 3), positions, f, 1, {"k", "[4, heads, 8]", "[3, 1, 8]"});
  refused("type", q, k.to(at::kDouble), positions, f, 1, {"Float", "Double"});
  refused("strides", q.transpose(1, 2).contiguous().transpose(1, 2), k, positions, f, 1, {"q", "contiguous"});
  refused("positions", q, k, positions.narrow(0, 0, 3), f, 1, {"positions", "[4]", "[3]"});
  refused("position type", q, k, positions.to(at::kFloat), f, 1, {"positions", "int64", "Float"});
  refused("frequencies", q, k, positions, at::ones({5}), 1, {"inverse_frequencies", "at most 8", "[5]"});
  refused("frequency type", q, k, positions, f.to(at::kDouble), 1, {"inverse_frequencies", "Float", "Double"});
  refused("scaling", q, k, positions, f, INFINITY, {"scaling", "finite"});
}

}  // namespace
}  // namespace peft4j::test
