package org.peft4j.optim;

import java.util.List;
import org.peft4j.nn.seam.Parameter;

/**
 * Parameters that share optimiser settings.
 *
 * @param name such as {@code lora_A} or {@code modules_to_save}; also the name under {@code training.groups}
 * @param learningRate the highest learning rate, before the schedule's factor
 * @param weightDecay of tensors with two or more dimensions; others have none
 */
public record ParameterGroup(String name, double learningRate, double weightDecay, List<Parameter> parameters) {
    public ParameterGroup {
        parameters = List.copyOf(parameters);
    }

    /** The decay of one of the parameters: norms and biases have none. */
    double decayOf(Parameter parameter) {
        return parameter.value().dim() >= 2 ? weightDecay : 0;
    }
}
