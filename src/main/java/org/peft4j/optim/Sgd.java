package org.peft4j.optim;

import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.Parameter;

/**
 * Stochastic gradient descent with momentum, as {@code torch.optim.SGD}: decay is added to the gradient, and the first gradient is
 * the momentum as it is.
 *
 * @param momentum share of the former momentum; 0: none is kept
 * @param dampening share of a gradient that is left out of the momentum
 * @param nesterov whether a step goes where the momentum will be
 */
public record Sgd(double momentum, double dampening, boolean nesterov) implements UpdateRule {
    private static final String BUFFER = "momentum_buffer";

    @Override
    public String name() {
        return "sgd";
    }

    @Override
    public Map<String, long[]> keeps(Parameter parameter) {
        return momentum == 0 ? Map.of() : Map.of(BUFFER, parameter.shape());
    }

    @Override
    public void change(List<Update> updates) {
        UpdateRule.each(updates, this::change);
    }

    private void change(Update update) {
        Tensor gradient = update.gradient();
        if (update.decay() != 0) {
            gradient = gradient.add(update.value(), new Scalar(update.decay()));
        }
        if (momentum != 0) {
            Tensor buffer = update.kept(BUFFER);
            if (update.step() == 1) {
                buffer.copy_(gradient);
            } else {
                buffer.mul_(new Scalar(momentum)).add_(gradient, new Scalar(1 - dampening));
            }
            gradient = nesterov ? gradient.add(buffer, new Scalar(momentum)) : buffer;
        }
        update.value().add_(gradient, new Scalar(-update.rate()));
    }
}
