#pragma once
/* What one call of lora_linear has to do, checked; the same for every provider and device. */
#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "dual_gemm.h"
#include "peft4j.h"
#include "philox.h"
#include "rank_ops.h"
#include "weight.h"

namespace peft4j {

// One low-rank update: of which part of the group, for which rows of x.
struct Adapter {
  int64_t part, begin, end;
  double scale, dropout;
};

// Adapters of the same rows with the same mask: their A's are stacked, so that x is read once for all of them.
struct RankGroup {
  int64_t begin, end;
  Dropout dropout;
  std::vector<int64_t> adapters, first;  // indexes, and where each one's rows begin in the stack
  int64_t rank = 0;
};

struct Plan {
  c10::intrusive_ptr<WeightImpl> weight;
  std::vector<Adapter> adapters;
  std::vector<int64_t> first_column;  // of each part, and the end
  std::vector<RankGroup> groups;
  Gemm gemm = Gemm::kLibrary;  // of the products, backward's too
};

// A segment for each adapter that has rows (of one part, or of all: -1): column[j] of h and g, factor(j), gradient(j).
template <class Factor, class Gradient>
RankSegments segments_of(const Plan& plan, const std::vector<int64_t>& column, int64_t part, const Factor& factor,
                         const Gradient& gradient) {
  RankSegments segments;
  for (const RankGroup& group : plan.groups) {
    for (const int64_t j : group.adapters) {
      const Adapter& adapter = plan.adapters[j];
      if (part < 0 || adapter.part == part) {
        segments.push_back({group.begin, group.end, column[j], factor(j), adapter.scale, group.dropout, gradient(j)});
      }
    }
  }
  return segments;
}

template <class Factor>
RankSegments segments_of(const Plan& plan, const std::vector<int64_t>& column, int64_t part, const Factor& factor) {
  return segments_of(plan, column, part, factor, [](int64_t) { return at::Tensor(); });
}

// Checks every argument of lora_linear (contract: peft4j.h), in the name of the operation that has them and calls x by `name`.
std::shared_ptr<Plan> make_plan(const char* operation, const char* name, const at::Tensor& x, const Weight& weight,
                                const at::Tensor& bias, const std::vector<at::Tensor>& a,
                                const std::vector<at::Tensor>& b, at::IntArrayRef place, at::ArrayRef<double> scale,
                                at::ArrayRef<double> dropout, int64_t seed);

// dy of all parts as one [T, out], on a device with rows that may lie apart: without a copy if they are views of one tensor, as
// attention's and the gated MLP's backwards make them.
// Undefined ones count as 0; undefined if all are.
at::Tensor joined(const Plan& plan, const std::vector<at::Tensor>& dy, int64_t rows);

// The part's columns of y, one view for each part.
std::vector<at::Tensor> parts_of(const Plan& plan, const at::Tensor& y);

}  // namespace peft4j
