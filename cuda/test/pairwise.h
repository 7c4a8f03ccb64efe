#pragma once
/* Combinations of sizes that keep a test short; the native tests use it too. */
#include <array>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

namespace peft4j::test_cases {

// Rows of choices, one for each axis (of that many values), so that every pair of values of two axes occurs.
inline std::vector<std::vector<int>> pairwise(const std::vector<int>& sizes, uint64_t seed = 1) {
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
