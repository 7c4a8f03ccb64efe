package org.peft4j.model;

import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.ReadRows;

/**
 * What transformers puts behind a backbone for one kind of output: {@code output(dropout(tanh(pooler(h))))}, with or without
 * each part.
 *
 * @param architecture its class in transformers, such as {@code BertForSequenceClassification}
 * @param reads the rows that it reads
 * @param pooler path of the dense layer before the output, or null
 * @param pools whether the output is computed from the pooler's; false: the class has one that nobody reads
 * @param output path of the layer that gives the numbers, or null if hidden states come out
 * @param bias whether that layer has a bias
 * @param dropout before the output, while training
 * @param std standard deviation of the values of layers that the directory lacks; biases are 0 then
 */
public record HeadLayout(
        String architecture,
        ReadRows reads,
        @Nullable String pooler,
        boolean pools,
        @Nullable String output,
        boolean bias,
        double dropout,
        double std) {}
