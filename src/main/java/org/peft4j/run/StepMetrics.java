package org.peft4j.run;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;

/**
 * What one optimiser step reports.
 *
 * @param step number of the step, from 1
 * @param epoch how much of the data has been seen, in epochs: 0.5 is half way through the first
 * @param loss mean loss over the step's examples
 * @param learningRates learning rate of each parameter group
 * @param gradNorm norm of all gradients before clipping
 * @param speed how fast it went
 */
public record StepMetrics(
        long step, double epoch, double loss, Map<String, Double> learningRates, double gradNorm, Speed speed) {
    /**
     * How fast a step went.
     *
     * @param tokens tokens of this step
     * @param tokensPerSecond tokens of this step by its time
     * @param elapsedSeconds time since training began
     */
    public record Speed(long tokens, double tokensPerSecond, double elapsedSeconds) {}

    public StepMetrics {
        learningRates = Map.copyOf(learningRates);
    }

    /** The line of metrics.jsonl. */
    public Map<String, Object> toMap() {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("step", step);
        map.put("epoch", epoch);
        map.put("loss", loss);
        map.put("lr", new TreeMap<>(learningRates));
        map.put("grad_norm", gradNorm);
        map.put("tokens", speed.tokens);
        map.put("tokens_per_second", speed.tokensPerSecond);
        map.put("elapsed_seconds", speed.elapsedSeconds);
        return map;
    }
}
