package org.peft4j.optim;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Ops;

/**
 * AdamW (Loshchilov and Hutter 2019) with torch's defaults β = (0.9, 0.999), ε = 1e-8: one native call a step for all
 * parameters. Owns the moments; not safe from several threads.
 *
 * @see <a href="https://arxiv.org/abs/1711.05101">Decoupled Weight Decay Regularization</a>
 */
public final class AdamW extends RuleOptimizer {
    public AdamW(List<ParameterGroup> groups) {
        super(Rule.DEFAULTS, groups);
    }

    /**
     * The rule.
     *
     * @param beta1 of the first moment
     * @param beta2 of the second
     * @param eps added to its root
     */
    public record Rule(double beta1, double beta2, double eps) implements UpdateRule {
        /** Torch's. */
        public static final Rule DEFAULTS = new Rule(0.9, 0.999, 1e-8);

        static final String FIRST = "exp_avg";
        static final String SECOND = "exp_avg_sq";

        @Override
        public String name() {
            return "adamw";
        }

        @Override
        public Map<String, long[]> keeps(Parameter parameter) {
            return moments(parameter);
        }

        /** Two of the parameter's shape. */
        static Map<String, long[]> moments(Parameter parameter) {
            Map<String, long[]> moments = new LinkedHashMap<>();
            moments.put(FIRST, parameter.shape());
            moments.put(SECOND, parameter.shape());
            return moments;
        }

        @Override
        public void change(List<Update> updates) {
            Ops.adamw(
                    updates.stream().map(Update::value).toList(),
                    updates.stream().map(Update::gradient).toList(),
                    updates.stream().map(update -> update.kept(FIRST)).toList(),
                    updates.stream().map(update -> update.kept(SECOND)).toList(),
                    updates.stream().mapToDouble(Update::rate).toArray(),
                    updates.stream().mapToDouble(Update::decay).toArray(),
                    updates.stream().mapToLong(Update::step).toArray(),
                    beta1,
                    beta2,
                    eps);
        }
    }
}
