package org.peft4j.optim;

import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.Parameter;

/** How parameters change by their gradients: the settings and the arithmetic of an optimiser, whose state is kept for it. */
public interface UpdateRule extends AutoCloseable {
    /**
     * The change of one parameter in one step.
     *
     * @param gradient float32, the parameter's shape, of any strides; not to be changed
     * @param rate with the schedule's factor
     * @param decay 0 where it has none
     * @param step of this parameter, from 1
     * @param kept what {@link #keeps} says, to be changed in place; 0 before the first step
     */
    record Update(
            Parameter parameter, Tensor gradient, double rate, double decay, long step, Map<String, Tensor> kept) {
        /** The float32 values, to be changed in place. */
        Tensor value() {
            return parameter.value();
        }

        /** What is kept under this name. */
        Tensor kept(String name) {
            Tensor tensor = kept.get(name);
            if (tensor == null) {
                throw new IllegalStateException(parameter + " keeps no " + name);
            }
            return tensor;
        }
    }

    /** Of its kind, as in run files. */
    String name();

    /** What is kept of a parameter between steps: the shapes of float32 tensors by torch's names. */
    Map<String, long[]> keeps(Parameter parameter);

    /** Changes parameters and what is kept of them, in place, without autograd and without waiting for a card. */
    void change(List<Update> updates);

    /** The learning rate, before the schedule's factor, at this step of a parameter in a group with the given one. */
    default double rate(double learningRate, long step) {
        return learningRate;
    }

    /** Frees its tensors, if it has any. */
    @Override
    default void close() {}

    /** Numbers that are kept for these groups. */
    default long kept(List<ParameterGroup> groups) {
        long numbers = 0;
        for (ParameterGroup group : groups) {
            for (Parameter parameter : group.parameters()) {
                for (long[] shape : keeps(parameter).values()) {
                    long product = 1;
                    for (long size : shape) {
                        product *= size;
                    }
                    numbers += product;
                }
            }
        }
        return numbers;
    }

    /** Does it for one after the other; what is made in between goes at once. */
    static void each(List<Update> updates, Consumer<Update> change) {
        for (Update update : updates) {
            try (PointerScope scope = new PointerScope()) {
                change.accept(update);
            }
        }
    }
}
