#pragma once
/*
Matrices whose rows lie apart, on a device.

A bordered product takes [x | h] (bordered.h). Who makes x leaves room behind each of its rows, where h then goes, and x is not copied to
stand beside it. x's memory knows of the room and gives it once: who joins the same x again copies. How much is left depends on
what joins of so many columns took lately, so a first step copies and the next ones do not.
*/
#include <ATen/core/Tensor.h>

#include "peft4j.h"

namespace peft4j {

// t itself where the numbers of a row lie side by side, else a copy.
at::Tensor with_contiguous_rows(const at::Tensor& t);

// [rows, columns] for a result of the type of `like` and where it is; on a device with room. The numbers are not set.
PEFT4J_API at::Tensor rows_with_room(int64_t rows, int64_t columns, const at::Tensor& like);

// [x | more columns], where each row begins a line of memory. in_place: x's numbers are there; else the caller copies them.
struct Joined {
  at::Tensor all;
  bool in_place;
};
PEFT4J_API Joined join(const at::Tensor& x, int64_t more);

// [rows, columns] of zeros, laid out as join lays them.
at::Tensor zero_rows(int64_t rows, int64_t columns, const at::Tensor& like);

}  // namespace peft4j
