package org.peft4j.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;
import static org.peft4j.Fixtures.maxDifference;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.assertj.core.data.Offset;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.Fixtures;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.model.BlockRunner;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.StepHook;
import org.peft4j.optim.AdamW;
import org.peft4j.optim.ParameterGroup;

/** The training that {@code add_training} of build-scripts/fixtures/causal_lm.py does with PEFT, and what came out of it. */
public final class LanguageTraining {
    private LanguageTraining() {}

    /** For each row the token behind it, -100 where there is none or an inserted row. The last inserted row has the first token. */
    public static long[] labels(Fixtures.Sentences texts, ForwardContext context) {
        Packing packing = context.packing();
        long[] labels = new long[(int) packing.rows()];
        Arrays.fill(labels, -100);
        for (int s = 0; s < packing.sequences(); s++) {
            int[] tokens = texts.only(s).tokens();
            for (int i = context.inserted(s) > 0 ? 0 : 1; i < tokens.length; i++) {
                labels[(int) context.rowOf(s, i) - 1] = tokens[i];
            }
        }
        return labels;
    }

    /**
     * The mean of all tokens that have a row before them, and what the adapter adds to it; also makes the gradients.
     *
     * @param tasks of the texts; none: they say none
     */
    public static double backward(
            HeadedModel model, Adapter adapter, Fixtures.Sentences texts, BlockRunner blocks, long step, int... tasks) {
        try (PointerScope scope = new PointerScope();
                ForwardContext plain = ForwardContext.training(texts.packing(), step, adapter);
                ForwardContext context = tasks.length == 0 ? plain : plain.withTasks(tasks)) {
            Tensor h = blocks.forward(model.model(), Tokens.of(texts.tokens()), ReadRows.ALL, context);
            long[] labels = labels(texts, context);
            long counted = Arrays.stream(labels).filter(label -> label >= 0).count();
            Tensor loss = ((LanguageHead) model.head())
                    .losses(h, Tensors.ofLongs(labels, labels.length), context.packing(), context)
                    .sum()
                    .div(new Scalar((double) counted));
            blocks.backward(loss, context);
            double sum = loss.item_float();
            for (StepHook hook : adapter.hooks()) {
                Optional<Tensor> penalty = hook.penalty();
                penalty.ifPresent(Tensor::backward);
                sum += penalty.map(Tensor::item_float).orElse(0f);
            }
            adapter.hooks().forEach(StepHook::beforeClipping);
            return sum;
        }
    }

    /** The loss, and all gradients, of the first step. */
    public static void firstStepEqualsPefts(
            HeadedModel model,
            Adapter adapter,
            Fixtures.Sentences texts,
            BlockRunner blocks,
            Map<String, TensorData> expected,
            int... tasks) {
        assertThat(backward(model, adapter, texts, blocks, 0, tasks))
                .isCloseTo(expected.get("losses").toFloats()[0], Offset.offset(1e-4));
        for (Parameter parameter : adapter.parameters().values()) {
            TensorData theirs = gradient(expected, parameter);
            if (parameter.elements() == 0) { // a rank that was taken away as a whole
                assertThat(theirs.toFloats()).as(parameter.path()).isEmpty();
                continue;
            }
            Tensor gradient = parameter.value().grad();
            boolean asFilesHaveIt = theirs.shape().get(0) == gradient.size(0); // Conv1D's are transposed
            float[] ours =
                    Tensors.toFloats(asFilesHaveIt ? gradient : gradient.t().contiguous());
            assertThat(maxDifference(ours, theirs.toFloats()))
                    .as(parameter.path())
                    .isLessThan(1e-3 * largest(theirs.toFloats()));
        }
    }

    private static TensorData gradient(Map<String, TensorData> expected, Parameter parameter) {
        String path = parameter.path();
        List<String> names = Stream.of(
                        path.equals("prompt_embeddings") ? "prompt_encoder.embedding.weight" : path,
                        path,
                        "prompt_encoder." + path,
                        "base_model.lora_model.model." + path,
                        "base_model." + path,
                        "base_model.model." + path)
                .map(name -> "gradient." + name)
                .filter(expected::containsKey)
                .toList();
        assertThat(names).as(path).isNotEmpty();
        return expected.get(names.get(0));
    }

    private static double largest(float[] values) {
        double most = 0;
        for (float value : values) {
            most = Math.max(most, Math.abs(value));
        }
        return most;
    }

    /** The losses of all steps; no gradient may be there before. */
    public static void lossesEqualPefts(
            HeadedModel model,
            Adapter adapter,
            Fixtures.Sentences texts,
            Map<String, TensorData> expected,
            int... tasks) {
        float[] losses = expected.get("losses").toFloats();
        try (AdamW optimizer = new AdamW(List.of(new ParameterGroup(
                "all", 1e-2, 0.01, List.copyOf(adapter.parameters().values()))))) {
            for (int step = 0; step < losses.length; step++) {
                assertThat(backward(model, adapter, texts, BlockRunner.plain(), step, tasks))
                        .isCloseTo(losses[step], Offset.offset(1e-4));
                optimizer.step(1, 0);
            }
        }
    }

    public static void clearGradients(Adapter adapter) {
        adapter.parameters().values().stream()
                .filter(parameter -> parameter.elements() > 0)
                .forEach(parameter -> parameter.value().mutable_grad().zero_());
    }
}
