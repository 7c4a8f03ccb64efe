package org.peft4j.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.Fixtures.maxDifference;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Packing;

class AttentionDecodeTest {
    private static final int KEYS = 6;

    @Test
    void newestRowEqualsTheLastRowOfAttention() {
        try (PointerScope scope = new PointerScope()) {
            Tensor q = Init.normal(1, "q", 1, KEYS, 4, 8);
            Tensor k = Init.normal(1, "k", 1, KEYS, 2, 8);
            Tensor v = Init.normal(1, "v", 1, KEYS, 2, 8);
            Tensor prefix = Init.normal(1, "prefix", 1, 3, 2, 8);
            Tensor cu = Packing.of(KEYS).cuSeqlens();
            Tensor all = Ops.attention(
                    q,
                    k,
                    v,
                    cu,
                    cu,
                    KEYS,
                    KEYS,
                    prefix,
                    prefix,
                    null,
                    new Ops.AttentionSettings(true, 0.5, 0, Ops.Dropout.NONE));
            Tensor newest = q.narrow(0, KEYS - 1, 1);
            float[] expected = Tensors.toFloats(all.narrow(0, KEYS - 1, 1).contiguous());

            Tensor packed = Ops.attentionDecode(newest, k, v, cu, KEYS, null, prefix, prefix, 0.5, 0, 0);
            assertThat(maxDifference(Tensors.toFloats(packed), expected)).isLessThan(1e-6);

            Tensor table =
                    Tensors.ofLongs(new long[] {0, 1}, 2).to(ScalarType.Int).view(1, 2);
            Tensor paged = Ops.attentionDecode(
                    newest, k.view(2, 3, 2, 8), v.view(2, 3, 2, 8), cu, KEYS, table, prefix, prefix, 0.5, 0, 0);
            assertThat(maxDifference(Tensors.toFloats(paged), expected)).isLessThan(1e-6);
        }
    }

    @Test
    void refusesAnInputThatWantsAGradient() {
        try (PointerScope scope = new PointerScope()) {
            Tensor q = torch.ones(1, 2, 8).requires_grad_(true);
            Tensor k = torch.ones(1, 2, 8);
            assertThatThrownBy(
                            () -> Ops.attentionDecode(q, k, k, Packing.of(1).cuSeqlens(), 1, null, null, null, 1, 0, 0))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("attention_decode: there is no gradient");
        }
    }
}
