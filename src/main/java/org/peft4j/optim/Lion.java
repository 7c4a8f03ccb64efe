package org.peft4j.optim;

import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.Parameter;

/**
 * Lion (Chen et al. 2023): {@code θ -= rate (sign(β₁ m + (1 - β₁) g) + decay θ)}, then {@code m = β₂ m + (1 - β₂) g}.
 *
 * @param beta1 share of the momentum in a step
 * @param beta2 share of the former momentum in the next one
 * @see <a href="https://arxiv.org/abs/2302.06675">Symbolic Discovery of Optimization Algorithms</a>
 */
public record Lion(double beta1, double beta2) implements UpdateRule {
    private static final String MOMENTUM = "exp_avg";

    @Override
    public String name() {
        return "lion";
    }

    @Override
    public Map<String, long[]> keeps(Parameter parameter) {
        return Map.of(MOMENTUM, parameter.shape());
    }

    @Override
    public void change(List<Update> updates) {
        UpdateRule.each(updates, this::change);
    }

    private void change(Update update) {
        Tensor momentum = update.kept(MOMENTUM);
        Tensor direction = momentum.mul(new Scalar(beta1)).add_(update.gradient(), new Scalar(1 - beta1));
        if (update.decay() != 0) {
            update.value().mul_(new Scalar(1 - update.rate() * update.decay()));
        }
        update.value().add_(direction.sign_(), new Scalar(-update.rate()));
        momentum.mul_(new Scalar(beta2)).add_(update.gradient(), new Scalar(1 - beta2));
    }
}
