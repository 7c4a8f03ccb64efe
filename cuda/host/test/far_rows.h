#pragma once
/*
Rows that lie so far apart that neither an index of their numbers nor the stride fits 32 bits: an operation must give the same numbers, bit
by bit, as where they lie side by side. The executor gives memory to what is touched only.
*/
#include "peft4j_cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {

constexpr int64_t kFar = (int64_t{1} << 31) + 64;  // numbers

template <class T>
class FarRows {
 public:
  // Not written yet.
  FarRows(const std::string& name, int64_t rows, int64_t columns, int64_t apart)
      : rows_(rows), columns_(columns), apart_(apart), buffer_((rows - 1) * apart + columns, name) {}
  FarRows(const std::string& name, int64_t rows, int64_t columns, int64_t apart, uint64_t seed)
      : FarRows(name, rows, columns, apart) {
    const auto numbers = convert<T>(random(rows * columns, seed));
    for (int64_t i = 0; i < rows; ++i) {
      buffer_.upload(numbers.data() + i * columns, i * apart, columns);
    }
  }
  T* data() const { return buffer_.data(); }
  int64_t apart() const { return apart_; }
  void append_to(std::vector<double>& all) const {
    for (int64_t i = 0; i < rows_; ++i) {
      for (const T x : buffer_.download(i * apart_, columns_)) {
        all.push_back(static_cast<float>(x));
      }
    }
  }

 private:
  int64_t rows_, columns_, apart_;
  DeviceBuffer<T> buffer_;
};

template <class... Results>
std::vector<double> numbers_of(const Results&... results) {
  std::vector<double> all;
  (results.append_to(all), ...);
  return all;
}

// run(apart) gives what the operation makes of rows that lie so far apart.
template <class F>
void expect_the_same_far_apart(const std::string& what, int64_t side_by_side, const F& run) {
  const std::vector<double> near = run(side_by_side), far = run(kFar);
  REQUIRE(!near.empty() && near.size() == far.size());
  for (size_t i = 0; i < near.size(); ++i) {
    if (!(near[i] == far[i])) {  // NaN: never written
      fail(text(what, ": number ", i, " of ", near.size(), " is ", near[i], ", and ", far[i], " far apart"));
    }
  }
}

}  // namespace peft4j::cuda::test
