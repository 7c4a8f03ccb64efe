package org.peft4j.train;

import java.util.Arrays;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.function.IntFunction;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.Batches;
import org.peft4j.data.Dataset;
import org.peft4j.data.Labels;
import org.peft4j.error.TrainingException;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.run.Evaluation;

/** Forward passes without gradients. */
public final class Inference {
    private Inference() {}

    /**
     * The logits of each text, in order; texts go through the model in batches.
     *
     * @param where names a text for messages
     * @throws TrainingException if a text's logits are not finite
     */
    public static void forEach(
            HeadedModel model,
            @Nullable Adapter adapter,
            List<int[]> texts,
            int batchSize,
            IntFunction<String> where,
            BiConsumer<Integer, float[]> receiver) {
        for (int[] batch : Batches.inOrder(texts.size(), batchSize)) {
            float[] logits = logits(model, adapter, batch, texts);
            int labels = logits.length / batch.length;
            for (int i = 0; i < batch.length; i++) {
                float[] own = Arrays.copyOfRange(logits, i * labels, (i + 1) * labels);
                for (float logit : own) {
                    if (!Float.isFinite(logit)) {
                        throw new TrainingException(where.apply(batch[i]) + ": the logits are not finite, got "
                                + Arrays.toString(own) + "; the model's or the adapter's weights are not finite or too"
                                + " large, try dtype float32");
                    }
                }
                receiver.accept(batch[i], own);
            }
        }
    }

    private static float[] logits(HeadedModel model, @Nullable Adapter adapter, int[] batch, List<int[]> texts) {
        Adapter[] adapters = adapter == null ? new Adapter[0] : new Adapter[] {adapter};
        try (PointerScope scope = new PointerScope();
                NoGradGuard noGrad = new NoGradGuard()) {
            PackedBatch packed =
                    PackedBatch.of(Arrays.stream(batch).mapToObj(texts::get).toList());
            return logits(model, packed, adapters);
        }
    }

    private static float[] logits(HeadedModel model, PackedBatch packed, Adapter[] adapters) {
        try (ForwardContext context = ForwardContext.inference(packed.packing(), adapters)) {
            Tensor logits = model.outputs(Tokens.of(packed.tokens()), context);
            return Tensors.toFloats(logits);
        }
    }

    public static Evaluation evaluate(
            HeadedModel model, @Nullable Adapter adapter, Dataset data, Labels labels, int batchSize) {
        Metrics metrics = new Metrics(labels.names());
        forEach(
                model,
                adapter,
                data.examples().stream().map(Dataset.Example::tokens).toList(),
                batchSize,
                data::where,
                (i, logits) -> metrics.add(logits, data.examples().get(i).label()));
        return metrics.evaluation(data.cut());
    }

    /** Texts one after the other, as the model takes them. */
    record PackedBatch(int[] tokens, Packing packing) {
        static PackedBatch of(List<int[]> texts) {
            int[] lengths = texts.stream().mapToInt(text -> text.length).toArray();
            int[] tokens = texts.stream().flatMapToInt(Arrays::stream).toArray();
            return new PackedBatch(tokens, Packing.of(lengths));
        }
    }
}
