/* Products by libtorch: what is handed over. That every test hands over nothing else, product_operands.h sees to. */
#include "../library_product.h"

#include "check.h"
#include "product_operands.h"

namespace peft4j::test {
namespace {

using library::left_operand;

// x with a gap of NaN behind each row.
at::Tensor with_gaps(const at::Tensor& x) {
  const at::Tensor all = at::full({x.size(0), x.size(1) + 5}, NAN, x.options());
  const at::Tensor rows = all.narrow(1, 0, x.size(1));
  rows.copy_(x);
  return rows;
}

TEST(operandsWithGapsAreMadeContiguous) {
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf}) {
    for (const int64_t columns : {1, 3, 31, 33, 34, 80, 257}) {
      const at::Tensor x = with_gaps(random({33, columns}, 1).to(type)), given = left_operand(x);
      REQUIRE(given.is_contiguous());
      expect_same_bits(text(columns, " columns"), given, x);
    }
  }
}

TEST(otherOperandsAreHandedOverAsTheyAre) {
  const at::Tensor x = random({33, 33}, 1);
  const at::Tensor narrow = x.to(at::kBFloat16), whole_tiles = random({33, 64}, 1).to(at::kBFloat16);
  for (const at::Tensor& t : {narrow, narrow.t(), with_gaps(narrow).t(), with_gaps(whole_tiles), narrow.narrow(0, 0, 0),
                              with_gaps(narrow).narrow(0, 0, 1), with_gaps(x), with_gaps(x.to(at::kFloat))}) {
    REQUIRE(left_operand(t).is_same(t));
  }
}

TEST(wrongOperandsAreNoticed) {
  const at::Tensor x = with_gaps(random({33, 33}, 1).to(at::kBFloat16)), w = at::ones({33, 16}, x.options());
  const auto notices = [](const char* what, const std::function<void()>& product) {
    product();
    if (take_wrong_operands().empty()) {
      fail(text(what, ": a left operand with gaps was not noticed"));
    }
  };
  at::Tensor y = at::zeros({33, 16}, x.options());
  notices("mm", [&] { at::mm(x, w); });
  notices("mm_out", [&] { at::mm_out(y, x, w); });
  notices("addmm", [&] { at::addmm(y, x, w); });
  notices("addmm_", [&] { y.addmm_(x, w); });
  notices("matmul", [&] { at::matmul(x, w); });
  notices("linear", [&] { at::linear(x, w.t()); });
  at::mm(x.contiguous(), w);
  at::mm(w.t(), x);
  REQUIRE(take_wrong_operands().empty());
}

// While it lives, memory that libtorch gives out is filled with NaN.
struct MemoryIsNaN {
  MemoryIsNaN() { at::globalContext().setDeterministicAlgorithms(true, true); }
  ~MemoryIsNaN() { at::globalContext().setDeterministicAlgorithms(false, false); }
};

// The operations that give 16-bit views to libtorch's products, with NaN in every gap: red on processors with AMX if one is left.
TEST(gapsOfNaNDoNotReachResults) {
  constexpr int64_t kRows = 70, kIn = 97, kOut = 50, kRank = 3;
  const auto typed = [](at::IntArrayRef shape, uint64_t seed) { return random(shape, seed).to(at::kBFloat16); };
  const at::Tensor x = typed({kRows, kIn}, 1).requires_grad_(true);
  const at::Tensor a = random({kRank, kIn}, 2).to(at::kFloat).requires_grad_(true),
                   b = random({kOut, kRank}, 3).to(at::kFloat).requires_grad_(true),
                   c = random({257, kRank}, 6).to(at::kFloat).requires_grad_(true),
                   trained = typed({257, kIn}, 7).requires_grad_(true);
  const Weight linear({typed({kOut, kIn}, 4)}), head({typed({257, kIn}, 5)});
  const at::Tensor labels = at::arange(kRows, at::kLong);
  const auto check = [&] {
    for (const double dropout : {0.0, 0.25}) {
      const at::Tensor y = lora_linear(x, linear, at::Tensor(), {a}, {b}, {0, 0, kRows}, {2.0}, {dropout}, 1)[0];
      const Tensors gradients = torch::autograd::grad({y}, {x, a, b}, {at::ones_like(y)});
      for (const at::Tensor& t : {y, gradients[0], gradients[1], gradients[2]}) {
        REQUIRE(t.isfinite().all().item<bool>());
      }
    }
    for (const at::Tensor& losses :
         {token_losses(x, head, at::Tensor(), {a}, {c}, {0, 0, kRows}, {2.0}, {0.25}, 1, labels, 0, 0),
          token_losses(x, trained, at::Tensor(), labels, 0, 0)}) {
      REQUIRE(losses.isfinite().all().item<bool>());
      for (const at::Tensor& gradient :
           torch::autograd::grad({losses.sum()}, {x, a, c, trained}, {}, std::nullopt, false, true)) {
        REQUIRE(!gradient.defined() || gradient.isfinite().all().item<bool>());
      }
    }
  };
  MemoryIsNaN nan;
  for (const char* provider : {"own", "library"}) {
    Kernels k(provider);
    check();
    CudaOnTheHost library;
    check();
  }
}

}  // namespace
}  // namespace peft4j::test
