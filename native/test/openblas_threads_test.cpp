/* Products of libtorch that run on OpenMP's threads: right from wherever they are called. */
#include <dlfcn.h>
#include <omp.h>

#include <atomic>
#include <thread>

#include "check.h"

namespace peft4j::test {
namespace {

constexpr int kCallers = 4, kRounds = 20, kSize = 150;  // large enough for several threads

// Each caller's own products, double, against what one caller alone gets: bit for bit.
void expect_own_products(const std::function<void(const std::function<void(int)>&)>& for_each_caller) {
  std::vector<at::Tensor> x, y;
  for (int i = 0; i < kCallers; i++) {
    x.push_back(random({kSize, kSize}, i + 1));
    y.push_back(at::mm(x[i], x[i].t()));
    REQUIRE(at::allclose(y[i], (x[i].unsqueeze(1) * x[i].unsqueeze(0)).sum(2), 1e-10, 1e-10));
  }
  std::atomic<int> wrong{0};
  for_each_caller([&](int i) {
    for (int round = 0; round < kRounds; round++) {
      wrong += at::mm(x[i], x[i].t()).equal(y[i]) ? 0 : 1;
    }
  });
  REQUIRE(wrong == 0);
}

TEST(openblasHasOurThreads) {
  const void* callback = dlsym(RTLD_DEFAULT, "openblas_threads_callback_");  // OpenBLAS's own variable
  REQUIRE(callback != nullptr && *static_cast<void* const*>(callback) != nullptr);
}

TEST(productsOfSeveralThreadsAreTheirOwn) {
  expect_own_products([](const std::function<void(int)>& caller) {
    std::vector<std::thread> threads;
    for (int i = 0; i < kCallers; i++) {
      threads.emplace_back(caller, i);
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
  });
}

// There OpenMP gives a product one thread, and its jobs wait for each other.
TEST(productsInsideOfAParallelRegionEnd) {
  expect_own_products([](const std::function<void(int)>& caller) {
#pragma omp parallel for num_threads(kCallers)
    for (int i = 0; i < kCallers; i++) {
      caller(i);
    }
  });
}

// A product has more jobs than OpenMP usually has threads.
TEST(productsWithFewerThreadsOfOpenMPThanOpenBlasHasEnd) {
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  expect_own_products([](const std::function<void(int)>& caller) { caller(0); });
  omp_set_num_threads(before);
}

}  // namespace
}  // namespace peft4j::test
