#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace peft4j {

// What rational (peft4j.h) says of its coefficients, for an x of that many channels, of the type and device of `like`, which the
// caller calls `name`.
void check_rational(const char* operation, const char* name, const at::Tensor& like, int64_t channels,
                    const at::Tensor& numerator, const at::Tensor& denominator, const std::string& version);

// The slow twin, in double.
at::Tensor eager_rational(const at::Tensor& x, const at::Tensor& numerator, const at::Tensor& denominator, char version,
                          int64_t seed);

}  // namespace peft4j
