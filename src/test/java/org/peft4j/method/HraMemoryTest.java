package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.peft4j.Fixtures;
import org.peft4j.method.hra.HraConfig;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.ops.Ops;

class HraMemoryTest {
    private static final Fixtures.Sentences TEXT = Fixtures.tinySentences().only(0);

    /** What a forward keeps for backward. */
    private static <C extends MethodConfig> long kept(Method<C> method, MethodConfig config, HeadedModel model) {
        try (Adapter adapter = method.attach("a", method.configType().cast(config), model.points(), 1);
                PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.training(TEXT.packing(), 1, adapter)) {
            long before = Ops.liveBytes();
            Tensor logits = model.outputs(Tokens.of(TEXT.tokens()), context);
            long kept = Ops.liveBytes() - before;
            logits.sum().backward();
            context.backward();
            return kept;
        }
    }

    /** A base in half precision is widened for nobody: the rows of one text are less than a copy of the adapted matrices. */
    @Test
    void noWideCopyOfTheWeightsIsKept() throws Exception {
        try (HeadedModel model = HeadedModel.open(
                Fixtures.tinyBert(), new ModelOptions(true, false, 0), HeadKind.SEQUENCE, HeadOptions.of(2))) {
            MethodConfig hra = HraConfig.defaults().withR(2);
            MethodConfig lora =
                    LoraConfig.builder().r(2).targets("query", "value").build();
            kept(Methods.of(hra), hra, model);
            long more = kept(Methods.of(hra), hra, model) - kept(Methods.of(lora), lora, model);
            assertThat(more).isLessThan(3 * 2 * 32 * 32 * Float.BYTES);
        }
    }
}
