#pragma once
/* What the tests with planted mistakes share: the report must say certain things, and name a line that is marked PLANTED. */
#include <fstream>

#include "device/cuda.h"
#include "test/check.h"
#include "test/device_buffer.h"

namespace peft4j::cuda::test {

// "…(file:line)…": the text of that line.
inline std::string line_in(const std::string& report, size_t from, size_t* end) {
  const size_t begin = report.find('(', from), colon = report.find(':', begin);
  if (begin == std::string::npos || colon == std::string::npos) {
    return "";
  }
  *end = begin + 1;
  std::ifstream file(report.substr(begin + 1, colon - begin - 1));
  std::string line;
  for (int n = std::atoi(report.c_str() + colon + 1); n > 0 && std::getline(file, line); --n) {
  }
  return file ? line : "";
}

inline void expect_report(int status, const std::vector<std::string>& pieces) {
  const std::string report = last_error();
  REQUIRE(status != 0);
  for (const std::string& piece : pieces) {
    if (report.find(piece) == std::string::npos) {
      fail(text("'", report, "' does not say '", piece, "'"));
    }
  }
  for (size_t at = 0; at != std::string::npos;) {
    size_t next = std::string::npos;
    if (line_in(report, at, &next).find("PLANTED") != std::string::npos) {
      return;
    }
    at = next;
  }
  fail(text("'", report, "' names no line that is marked"));
}

// Of a launch that does not begin: there is no line to name.
inline void expect_refusal(int status, const std::string& piece) {
  const std::string report = last_error();
  REQUIRE(status != 0);
  if (report.find(piece) == std::string::npos) {
    fail(text("'", report, "' does not say '", piece, "'"));
  }
}

#define RUN(kernel, blocks, threads, shared_bytes, ...) \
  PEFT4J_LAUNCH(kernel, dim3(blocks), dim3(threads), shared_bytes, nullptr, __VA_ARGS__)

}  // namespace peft4j::cuda::test
