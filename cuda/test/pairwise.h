#pragma once
/* Combinations of sizes that keep a test short; the native tests use it too. */
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace peft4j::test_cases {

// Rows of choices, one for each axis (of that many values), so that every value of an axis occurs.
inline std::vector<std::vector<int>> each_value(const std::vector<int>& sizes, uint64_t seed) {
  std::mt19937_64 generator(seed + 3);
  std::vector<std::vector<int>> rows(sizes.empty() ? 0 : *std::max_element(sizes.begin(), sizes.end()));
  for (const int size : sizes) {
    std::vector<int> values(size);
    std::iota(values.begin(), values.end(), 0);
    for (size_t r = 0; r < rows.size(); ++r) {
      if (r % size == 0) {
        std::shuffle(values.begin(), values.end(), generator);
      }
      rows[r].push_back(values[r % size]);
    }
  }
  return rows;
}

// The same so that every pair of values of two axes occurs. PEFT4J_CASES=each has to do with every value: for runs that look at how
// something is computed (sanitizers, other instruction sets) beside one that looks at all of what is computed.
inline std::vector<std::vector<int>> pairwise(const std::vector<int>& sizes, uint64_t seed = 1) {
  const char* cases = std::getenv("PEFT4J_CASES");
  if (cases != nullptr && std::string(cases) == "each") {
    return each_value(sizes, seed);
  }
  std::mt19937_64 generator(seed);
  const int axes = static_cast<int>(sizes.size());
  std::set<std::array<int, 4>> open;  // axis, value, axis, value
  for (int a = 0; a < axes; ++a) {
    for (int b = a + 1; b < axes; ++b) {
      for (int i = 0; i < sizes[a]; ++i) {
        for (int j = 0; j < sizes[b]; ++j) {
          open.insert({a, i, b, j});
        }
      }
    }
  }
  std::vector<std::vector<int>> rows;
  while (!open.empty()) {
    std::vector<int> best;
    int most = -1;
    for (int attempt = 0; attempt < 50; ++attempt) {
      std::vector<int> row(axes);
      for (int a = 0; a < axes; ++a) {
        row[a] = static_cast<int>(generator() % sizes[a]);
      }
      const std::array<int, 4> must = *open.begin();
      row[must[0]] = must[1];
      row[must[2]] = must[3];
      int covers = 0;
      for (int a = 0; a < axes; ++a) {
        for (int b = a + 1; b < axes; ++b) {
          covers += open.count({a, row[a], b, row[b]});
        }
      }
      if (covers > most) {
        most = covers;
        best = row;
      }
    }
    for (int a = 0; a < axes; ++a) {
      for (int b = a + 1; b < axes; ++b) {
        open.erase({a, best[a], b, best[b]});
      }
    }
    rows.push_back(best);
  }
  return rows;
}

}  // namespace peft4j::test_cases
