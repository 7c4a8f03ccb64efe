/*
peft4j_cuda_host_tests, peft4j_cuda_tests [part of a name…]: runs the tests, or those with one of the parts in their name
(lora_shrink finds loraShrinkAddsRows too); exit code 0 if all passed.
*/
#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <random>
#include <stdexcept>

#include "check.h"
#include "peft4j_cuda.h"

namespace peft4j::cuda::test {

const std::vector<int64_t> kSizes = {1, 2, 3, 7, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 257, 1000, 0};

struct Test {
  const char* name;
  void (*body)();
};

static std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

int add(const char* name, void (*body)()) {
  tests().push_back({name, body});
  return static_cast<int>(tests().size());
}

void fail(const std::string& message) {
  throw std::runtime_error(message);
}

void expect_success(const std::string& what, int status) {
  if (status != 0) {
    fail(text(what, ": ", peft4j_cuda_last_error()));
  }
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(a[i] - b[i]));
  }
  return worst;
}

void expect_close(const std::string& what, const std::vector<double>& own, const std::vector<double>& reference,
                  double allowed, double absolute) {
  if (own.size() != reference.size()) {
    fail(text(what, ": expected ", reference.size(), " numbers, got ", own.size()));
  }
  const double bound = 2 * allowed + absolute;
  size_t at = own.size();
  for (size_t i = 0; i < own.size(); ++i) {
    const double difference = std::abs(own[i] - reference[i]);
    if (!(difference <= bound) && (at == own.size() || !(difference <= std::abs(own[at] - reference[at])))) {
      at = i;
    }
  }
  if (at < own.size()) {
    fail(text(what, ": own ", own[at], ", reference ", reference[at], " at element ", at, " of ", own.size(),
              ", over the bound ", bound));
  }
}

uint32_t mask_byte(uint64_t row, uint64_t column, uint64_t seed) {
  uint32_t c[4] = {uint32_t(column / 16), uint32_t(row), uint32_t(row >> 32), 0},
           k[2] = {uint32_t(seed), uint32_t(seed >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xD2511F53} * c[0], second = uint64_t{0xCD9E8D57} * c[2];
    const uint32_t next[4] = {uint32_t(second >> 32) ^ c[1] ^ k[0], uint32_t(second),
                              uint32_t(first >> 32) ^ c[3] ^ k[1], uint32_t(first)};
    std::copy(next, next + 4, c);
    k[0] += 0x9E3779B9;
    k[1] += 0xBB67AE85;
  }
  return c[column % 16 / 4] >> (8 * (column % 4)) & 255;
}

std::vector<double> mask(int64_t rows, int64_t columns, uint32_t threshold, uint64_t seed, uint64_t first_row) {
  std::vector<double> factors(rows * columns);
  for (int64_t i = 0; i < rows * columns; ++i) {
    factors[i] = mask_byte(first_row + i / columns, i % columns, seed) < threshold ? 0 : 256.0 / (256 - threshold);
  }
  return factors;
}

std::vector<double> random(size_t n, uint64_t seed, double deviation) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<double> normal(0, deviation);
  std::vector<double> values(n);
  for (double& x : values) {
    x = normal(generator);
  }
  return values;
}

// In small letters, without underscores.
static std::string plain(const std::string& name) {
  std::string letters;
  for (const char c : name) {
    if (c != '_') {
      letters += static_cast<char>(std::tolower(c));
    }
  }
  return letters;
}

static bool chosen(const std::string& name, int parts, char** part) {
  const auto has = [&](const char* p) { return plain(name).find(plain(p)) != std::string::npos; };
  return parts == 0 || std::any_of(part, part + parts, has);
}

}  // namespace peft4j::cuda::test

int main(int argc, char** argv) {
  using namespace peft4j::cuda::test;
  int passed = 0, failed = 0;
  for (const Test& test : tests()) {
    if (!chosen(test.name, argc - 1, argv + 1)) {
      continue;
    }
    const auto begin = std::chrono::steady_clock::now();
    std::string problem;
    try {
      test.body();
    } catch (const std::exception& error) {
      problem = error.what();
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::printf("%-6s %s (%.2f s)%s%s\n", problem.empty() ? "ok" : "FAILED", test.name, seconds,
                problem.empty() ? "" : "\n       ", problem.c_str());
    std::fflush(stdout);
    ++(problem.empty() ? passed : failed);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}
