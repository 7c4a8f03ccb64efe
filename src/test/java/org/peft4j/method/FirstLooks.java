package org.peft4j.method;

import java.util.Arrays;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.method.spi.Calibration;
import org.peft4j.method.spi.Method;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.Tokens;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;

/** Attaches methods, those that look at rows first, too: they are shown some texts, and as a loss the mean square of all outputs. */
final class FirstLooks {
    private FirstLooks() {}

    static <C extends MethodConfig> Adapter attach(
            Method<C> method,
            MethodConfig config,
            String name,
            HeadedModel model,
            long seed,
            int[] tokens,
            int... lengths) {
        C own = method.configType().cast(config);
        Calibration<C> look = method.calibration(own, model.points(), seed).orElse(null);
        if (look == null) {
            return method.attach(name, own, model.points(), seed);
        }
        try (look) {
            look(look, model, Tokens.of(tokens), Packing.of(lengths));
            return look.attach(name).adapter();
        }
    }

    private static void look(Calibration<?> look, HeadedModel model, Tokens inputs, Packing packing) {
        boolean[] told = new boolean[(int) packing.rows()];
        Arrays.fill(told, true);
        look.before(packing, told);
        BlockRunner blocks = BlockRunner.plain();
        try (PointerScope scope = new PointerScope();
                ForwardContext context = look.needsGradient()
                        ? ForwardContext.training(packing, 1, look.observer())
                        : ForwardContext.inference(packing, look.observer())) {
            ReadRows reads = look.needsGradient() ? model.head().reads(inputs, packing) : ReadRows.ALL;
            Tensor h = blocks.forward(model.model(), inputs, reads, context);
            if (look.needsGradient()) {
                Tensor outputs = model.head().forward(h, reads.packing(context), context);
                blocks.backward(outputs.square().mean(), context);
            }
        }
    }
}
