/* What of attention by cuDNN shows without a card: the rounding of sizes, and when it is not taken. */
#include "../attention_cudnn.h"
#include "check.h"

namespace peft4j::test {
namespace {

TEST(cudnnSizesAreFewAndNear) {
  std::vector<int64_t> sizes;
  for (int64_t n = 0; n <= 100000; ++n) {
    const int64_t size = cudnn_bucket(n);
    REQUIRE(size >= n && 8 * (size - n) <= n && cudnn_bucket(size) == size);
    if (sizes.empty() || sizes.back() != size) {
      REQUIRE(sizes.empty() || sizes.back() < size);
      sizes.push_back(size);
    }
  }
  REQUIRE(sizes.size() < 130);
}

TEST(cudnnSizesAreTakenWhenTheyComeBack) {
  for (int i = 0; i < 10; ++i) {
    REQUIRE(!cudnn_met_often({1, 2, 3}));
  }
  REQUIRE(cudnn_met_often({1, 2, 3}) && cudnn_met_often({1, 2, 3}) && !cudnn_met_often({1, 2, 4}));
}

TEST(cudnnLengthsEndInEmptySequences) {
  const at::Tensor cu = at::tensor({0, 3, 5}, at::kInt);
  expect_same_bits("lengths", cudnn_lengths(cu, 4, 5), at::tensor({0, 3, 5, 5, 5}, at::kInt));
  expect_same_bits("as many", cudnn_lengths(cu, 2, 5), cu);
}

}  // namespace
}  // namespace peft4j::test
