/* The table of this instruction set's kernels. */
#include "kernels.h"

namespace peft4j {
namespace CPU_CAPABILITY {

void lora_shrink(const RankParams& p);
void lora_expand(const RankParams& p);
void lora_outer(const RankParams& p);
void lora_rows(const RankRowsParams& p);
void panel_product(const FewRowsParams& p);
void rows_product(const FewRowsParams& p);
void attention_forward(const AttentionParams& p);
void attention_backward(const AttentionParams& p);
void attention_decode(const DecodeParams& p);
void norm_forward(const NormParams& p);
void norm_backward(const NormParams& p);
void rotary(const RotaryParams& p);
void gated_mlp_forward(const GatedMlpParams& p);
void gated_mlp_backward(const GatedMlpParams& p);
void gelu_forward(const ElementwiseParams& p);
void gelu_backward(const ElementwiseParams& p);
void dropout(const ElementwiseParams& p);
void cross_entropy(const CrossEntropyParams& p);
void rational_forward(const RationalParams& p);
void rational_backward(const RationalParams& p);
void softmax_pool_forward(const SoftmaxPoolParams& p);
void softmax_pool_backward(const SoftmaxPoolParams& p);

#define PEFT4J_NAME(capability) #capability
#define PEFT4J_NAME_OF(capability) PEFT4J_NAME(capability)

extern const CpuKernels kTable = {
    PEFT4J_NAME_OF(CPU_CAPABILITY),
    lora_shrink,
    lora_expand,
    lora_outer,
    lora_rows,
    panel_product,
    rows_product,
    attention_forward,
    attention_backward,
    attention_decode,
    norm_forward,
    norm_backward,
    rotary,
    gated_mlp_forward,
    gated_mlp_backward,
    gelu_forward,
    gelu_backward,
    dropout,
    cross_entropy,
    rational_forward,
    rational_backward,
    softmax_pool_forward,
    softmax_pool_backward,
};

}  // namespace CPU_CAPABILITY
}  // namespace peft4j
