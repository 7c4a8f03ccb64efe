/* Rows with room behind them: who joins them, and that nobody else's numbers are there. */
#include "rows.h"

#include <array>

#include "check.h"

namespace peft4j::test {
namespace {

TEST(rowsAreJoinedInPlaceOnce) {
  CudaOnTheHost library;
  constexpr int64_t kColumns = 1031;  // of no other test
  const at::Tensor like = at::empty({0}, at::kFloat), first = rows_with_room(5, kColumns, like);
  REQUIRE(first.is_contiguous());  // nobody has joined so many columns
  REQUIRE(!join(first, 24).in_place);
  const at::Tensor x = rows_with_room(5, kColumns, like);
  REQUIRE(x.size(1) == kColumns && x.stride(0) * x.element_size() % 128 == 0);
  REQUIRE(!join(x.narrow(0, 1, 3), 24).in_place && !join(x.narrow(1, 0, 8), 24).in_place);
  REQUIRE(!join(x, 1000).in_place);
  const Joined both = join(x, 24);
  REQUIRE(both.in_place && both.all.data_ptr() == x.data_ptr() && both.all.size(1) == kColumns + 24);
  REQUIRE(!join(x, 24).in_place);
}

TEST(roomThatNobodyTakesIsForgotten) {
  CudaOnTheHost library;
  constexpr int64_t kColumns = 1033;
  const at::Tensor like = at::empty({0}, at::kFloat);
  join(rows_with_room(1, kColumns, like), 256);
  const int64_t wide = rows_with_room(1, kColumns, like).stride(0);
  for (int i = 0; i < 256; ++i) {
    join(rows_with_room(1, kColumns, like), 8);
  }
  REQUIRE(wide >= kColumns + 256 && rows_with_room(1, kColumns, like).stride(0) < kColumns + 64);
}

TEST(rowsOnTheCpuHaveNoRoom) {
  constexpr int64_t kColumns = 1039;
  const at::Tensor like = at::empty({0}, at::kFloat);
  join(at::empty({1, kColumns}), 8);
  REQUIRE(rows_with_room(3, kColumns, like).is_contiguous());
}

// A block as decoders have it, and a second layer that reads the same norm: its ranks must not come where the first one's are.
Operation block() {
  constexpr int64_t kRows = 9, kHidden = 40, kInner = 24, kRank = 5;
  Operation o;
  o.what = "norm, gate and up, down, and a second layer";
  o.inputs = {random({kRows, kHidden}, 1), random({kRows, kHidden}, 2), random({kHidden}, 3)};
  const std::vector<std::array<int64_t, 2>> layers = {{kHidden, kInner}, {kInner, kHidden}, {kHidden, kInner}};
  for (size_t i = 0; i < layers.size(); ++i) {
    const auto [in, out] = layers[i];
    const int64_t outputs = i == 0 ? 2 * out : out;
    o.inputs.push_back(random({outputs, in}, 10 + i, 0.2));
    o.inputs.push_back(random({kRank, in}, 20 + i, 0.2));
    o.inputs.push_back(random({out, kRank}, 30 + i, 0.5));
  }
  for (size_t i = 0; i < o.inputs.size(); ++i) {
    const bool factor = i >= 3 && i % 3 != 0;
    o.trained.push_back(i < 3 || factor);
    o.wide.push_back(factor);
  }
  o.run = [](const Tensors& in, at::ScalarType) {
    const auto layer = [&](const at::Tensor& x, int i, std::vector<at::Tensor> parts) {
      return lora_linear(x, Weight(parts), at::Tensor(), {in[4 + 3 * i]}, {in[5 + 3 * i]}, {0, 0, x.size(0)}, {1.5},
                         {0}, 0);
    };
    const Tensors normal = rms_norm(in[0], in[1], in[2], 1e-5, 0, 0, 0);
    const Tensors gate_up = layer(normal[0], 0, in[3].chunk(2, 0));
    const Tensors second = layer(normal[0], 2, {in[9]});
    const at::Tensor down = layer(gated_mlp(gate_up[0], gate_up[1], "silu"), 1, {in[6]})[0];
    return Tensors{down, second[0], layer_norm(down, normal[0], in[2], in[2], 1e-5, 0, 0)};
  };
  o.plain = [](const Tensors& in, at::ScalarType type) {
    const auto layer = [&](const at::Tensor& x, int i, const at::Tensor& w) {
      const at::Tensor h = at::mm(x, in[4 + 3 * i].to(type).t()) * 1.5, update = at::mm(h, in[5 + 3 * i].to(type).t());
      return at::mm(x, w.t()) + at::constant_pad_nd(update, {0, w.size(0) - update.size(1)});
    };
    const at::Tensor z = in[0] + in[1], normal = z * at::rsqrt((z * z).mean(1, true) + 1e-5) * in[2];
    const Tensors gate_up = layer(normal, 0, in[3]).chunk(2, 1);
    const at::Tensor down = layer(gate_up[0] * at::sigmoid(gate_up[0]) * gate_up[1], 1, in[6]), sum = down + normal;
    const at::Tensor centred = sum - sum.mean(1, true);
    return Tensors{down, layer(normal, 2, in[9]),
                   centred * at::rsqrt((centred * centred).mean(1, true) + 1e-5) * in[2] + in[2]};
  };
  return o;
}

TEST(ranksOfABlockGoIntoTheRoomBehindItsRows) {
  CudaOnTheHost library;
  Operation o = block();
  o.types = {at::kFloat, at::kBFloat16, at::kHalf};
  for (int step = 0; step < 2; ++step) {  // the first one makes room for the second
    compare(o, "lora_linear=library");
  }
  const Kernels k("lora_linear=library");
  for (const at::ScalarType type : o.types) {
    const Tensors before = results(o, o.run, type, false), after = results(o, o.run, type, false);
    for (size_t i = 0; i < before.size(); ++i) {
      expect_same_bits(text("result ", i), before[i], after[i]);
    }
  }
}

}  // namespace
}  // namespace peft4j::test
