package org.peft4j.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.peft4j.Fixtures.maxDifference;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.peft4j.Fixtures;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.reft.ReftConfig;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.ops.Device;

/** ReFT through the cache: places are those of the whole prompt, whatever calls it comes in; what is written behind it is not edited. */
class ReftPromptsTest {
    private static final int[] TEXT = {5, 49, 40, 8, 33, 9, 21, 4, 38, 60, 12, 50, 7};

    private static HeadedModel model;
    private static Adapter adapter;

    @BeforeAll
    static void open() throws Exception {
        model = HeadedModel.open(
                ModelDirectory.open(Fixtures.TINY_LLAMA),
                new ModelOptions(false, false, 0),
                HeadKind.LANGUAGE,
                HeadOptions.of(0));
        ReftConfig config = ReftConfig.builder().r(2).positions(2, 3).build();
        adapter = Methods.of(config).attach("it", config, model.points(), 1);
        for (Parameter parameter : adapter.parameters().values()) {
            try (PointerScope scope = new PointerScope()) {
                parameter.set(Tensors.toFloats(
                        parameter.value().add(Init.normal(3, parameter.path(), 0.3, parameter.shape()))));
            }
        }
    }

    @AfterAll
    static void close() {
        adapter.close();
        model.close();
    }

    private static float[] logits(int[] tokens, ForwardContext context) {
        Tensor h = BlockRunner.plain().forward(model.model(), Tokens.of(tokens), ReadRows.ALL, context);
        return Tensors.toFloats(model.head().forward(h, context.packing(), context));
    }

    /** The definition: the text as a whole, of which the prompt is so long. */
    private static float[] whole(int prompt) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(Packing.of(TEXT.length), adapter)
                        .withPrompts(List.of(Arrays.copyOf(TEXT, prompt)))) {
            return logits(TEXT, context);
        }
    }

    /** Logits of each row of the text, whose prompt comes in parts, and the rest token by token. */
    private static float[] parts(List<Integer> lengths) {
        int prompt = lengths.stream().mapToInt(Integer::intValue).sum();
        List<Integer> all = new ArrayList<>(lengths);
        all.addAll(Collections.nCopies(TEXT.length - prompt, 1));
        List<Float> joined = new ArrayList<>();
        try (NoGradGuard noGrad = new NoGradGuard();
                Cache cache = new Cache(model.model().info().output(), ScalarType.Float, Device.CPU, 100)) {
            Cache.Need need = new Cache.Need(0, null, TEXT.length, TEXT.length, 1);
            cache.enter(need);
            Cache.Place place = cache.open(need);
            int at = 0;
            for (int length : all) {
                try (PointerScope scope = new PointerScope()) {
                    cache.choose(List.of(place), at > 0);
                    ForwardContext context = ForwardContext.continued(
                                    Packing.of(length), Collections.singletonList(adapter), cache, null)
                            .withPrompts(List.of(Arrays.copyOf(TEXT, prompt)));
                    cache.begin(context.packing());
                    for (float logit : logits(Arrays.copyOfRange(TEXT, at, at + length), context)) {
                        joined.add(logit);
                    }
                    cache.end();
                }
                at += length;
            }
        }
        float[] values = new float[joined.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = joined.get(i);
        }
        return values;
    }

    @Test
    void aPromptInPartsIsThatPrompt() {
        for (List<Integer> lengths : List.of(
                List.of(13),
                List.of(7),
                List.of(4, 4),
                List.of(1, 5, 1, 2),
                List.of(8, 1, 1),
                List.of(3),
                List.of(1))) {
            int prompt = lengths.stream().mapToInt(Integer::intValue).sum();
            assertThat(maxDifference(parts(lengths), whole(prompt)))
                    .as(lengths.toString())
                    .isLessThan(1e-4);
        }
        assertThat(maxDifference(whole(7), whole(13))).isGreaterThan(1e-2);
    }
}
