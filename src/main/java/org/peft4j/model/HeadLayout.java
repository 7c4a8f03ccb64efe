package org.peft4j.model;

import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.ReadRows;

/**
 * What transformers puts behind a backbone for one kind of output: {@code output(dropout(tanh(pooler(h))))}, with or without
 * each part.
 *
 * @param architecture its class in transformers, such as {@code BertForSequenceClassification}
 * @param reads the rows that it reads
 * @param pooler the dense layer before the output, or null
 * @param output the layer that gives the numbers, or null if hidden states come out
 * @param std standard deviation of the values of layers that the directory lacks; biases are 0 then
 */
public record HeadLayout(
        String architecture,
        ReadRows reads,
        @Nullable Pooler pooler,
        @Nullable Output output,
        double std) {
    /**
     * A dense layer with tanh.
     *
     * @param path such as {@code bert.pooler.dense}
     * @param read whether the output is computed from it; false: the class has one that nobody reads
     */
    public record Pooler(String path, boolean read) {}

    /**
     * The layer that gives the numbers.
     *
     * @param path such as {@code classifier}
     * @param bias whether it has a bias
     * @param dropout before it, while training
     */
    public record Output(String path, boolean bias, double dropout) {}

    /** Path of the layer that gives the numbers, which must be there. */
    public String outputPath() {
        return Objects.requireNonNull(output, architecture).path();
    }
}
