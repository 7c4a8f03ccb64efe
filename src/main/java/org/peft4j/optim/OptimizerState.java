package org.peft4j.optim;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;

/**
 * What an optimiser remembers between steps.
 *
 * @param rule its kind, such as {@code adamw}
 * @param parameters what it knows of each, by path, in the order of its groups
 */
public record OptimizerState(String rule, Map<String, OfParameter> parameters) {
    /**
     * What is known of a parameter.
     *
     * @param steps that it took part in
     * @param tensors float32, by torch's names: {@code exp_avg}, {@code momentum_buffer}, …
     */
    public record OfParameter(long steps, Map<String, Tensor> tensors) {
        public OfParameter {
            if (steps < 0) {
                throw new IllegalArgumentException("steps must be at least 0, got " + steps);
            }
            tensors = Collections.unmodifiableMap(new LinkedHashMap<>(tensors));
        }
    }

    public OptimizerState {
        parameters = Collections.unmodifiableMap(new LinkedHashMap<>(parameters));
    }
}
