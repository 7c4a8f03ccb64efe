#pragma once
/*
Watches every product that libtorch's CPU library is asked for while tests run, their own formulas' too: a left operand of 16-bit
numbers must not have gaps that the library may read on into (library_product.h). main.cpp fails the test in which one does. This
needs no AMX.
*/
#include <ATen/core/Tensor.h>

#include <string>

namespace peft4j::test {

// What was wrong since the last call, "" for nothing.
std::string take_wrong_operands();

// a b, where a or the gradient is a view with gaps: a batch of one, which the library has a product of its own for.
at::Tensor product_of_views(const at::Tensor& a, const at::Tensor& b);

}  // namespace peft4j::test
