#pragma once
/*
lora_linear for batches whose rows belong to many adapters, one or few for each row, by libtorch's frozen products and the rank's
own; for any device. With h = s·drop(x)Aᵀ and g = s·dy·B over each adapter's own rows:

    y  = xWᵀ,   then y += h Bᵀ               h and g are as wide as the most ranks that a row has: adapters of different rows
    dx = dy·W,  then dx += mask∘(g A)        share columns, and cells of no adapter are neither written nor read
    dB = dyᵀ h, dA = gᵀ drop(x)

The border (bordered.h) costs (K + R)/K of the frozen product, R the ranks of all adapters of the batch; here y and dx are read and
written once more instead, and A and B are read where they are: nothing is laid out anew when other tenants come.
*/
#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

namespace peft4j {

struct Plan;

// Where the border would be more than a quarter of K, most of it zeros in each row.
bool prefers_segments(const Plan& plan, const std::vector<at::Tensor>& a);

std::vector<at::Tensor> lora_linear_segments(const at::Tensor& x, const at::Tensor& bias,
                                             const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b,
                                             const std::shared_ptr<Plan>& plan);

}  // namespace peft4j
