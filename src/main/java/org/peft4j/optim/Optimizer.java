package org.peft4j.optim;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.Parameter;

/**
 * Changes parameters by their gradients. What it knows of a parameter goes by the parameter's path, and each parameter has a number of
 * steps of its own. Clipping is no part of it: {@link #step} and {@link #stepAhead} clip, call {@link #change}, and take the gradients
 * away. For one thread.
 */
public interface Optimizer extends AutoCloseable {
    /**
     * A parameter that takes part in a step.
     *
     * @param gradient as the change shall see it
     */
    record Given(ParameterGroup group, Parameter parameter, Tensor gradient) {}

    /** What else happens in a step that changes parameters, while its gradients are there: unscaled and clipped. */
    interface Around {
        /** Nothing. */
        Around NOTHING = new Around() {
            @Override
            public void before() {}

            @Override
            public void after() {}
        };

        /** Behind clipping, before parameters change. */
        void before();

        /** When parameters have changed. */
        void after();
    }

    /** The parameters that it changes. */
    List<ParameterGroup> groups();

    /**
     * Changes the parameters that have a gradient; others stay as they are, without decay, and what is known of them does, too. Does not
     * wait for a card.
     *
     * @param given of the groups; each parameter once
     * @param factor of the schedule, multiplies every group's learning rate
     */
    void change(List<Given> given, double factor);

    /**
     * The learning rate of a group in a step.
     *
     * @param factor of the schedule
     * @param step of a parameter that took part in each one, from 1
     */
    double rate(ParameterGroup group, double factor, long step);

    /**
     * Steps that the parameter with this path took part in.
     *
     * @throws IllegalArgumentException if it is none of this optimiser's
     */
    long steps(String path);

    /** What it has to remember between steps. The tensors belong to the optimiser and change with the next step. */
    OptimizerState state();

    /**
     * Takes a copy of what {@link #state} of another optimiser of this kind gave, on any device: the next step is the one that the
     * other would have made.
     *
     * @throws IllegalArgumentException if it is of another kind, or of other parameters; nothing is changed then
     */
    void restore(OptimizerState state);

    /** Begins anew: nothing is known of any parameter, and nothing takes memory until its next step. */
    void forget();

    /**
     * Clips the gradients, changes the parameters, and takes the gradients away: they are undefined again. A parameter
     * without a gradient (no row of the batch reached it) stays as it is. Where the norm is not finite, nothing is changed but that
     * the gradients are gone.
     *
     * @param factor of the schedule, multiplies every group's learning rate
     * @param maxNorm joint norm of all gradients at most; 0: no limit
     * @return the norm before clipping
     */
    default double step(double factor, double maxNorm) {
        return step(factor, maxNorm, 1);
    }

    /**
     * As {@link #step(double, double)}, of gradients that are too large.
     *
     * @param scale by which they are divided first; so is their norm
     */
    default double step(double factor, double maxNorm, double scale) {
        return step(factor, maxNorm, scale, Around.NOTHING);
    }

    /**
     * As {@link #step(double, double, double)}.
     *
     * @param around what else happens, unless the norm is not finite
     */
    default double step(double factor, double maxNorm, double scale, Around around) {
        return ClippedStep.run(this, factor, maxNorm, scale, around);
    }

    /**
     * As {@link #step(double, double)}, but does not wait for a card: where the norm turns out not to be finite, parameters and
     * moments are lost.
     *
     * @return the norm before clipping, one number on the card; the caller closes it
     */
    default Tensor stepAhead(double factor, double maxNorm) {
        return stepAhead(factor, maxNorm, Around.NOTHING);
    }

    /** As {@link #stepAhead(double, double)}, with what else happens, which must not wait for the card. */
    default Tensor stepAhead(double factor, double maxNorm, Around around) {
        return ClippedStep.ahead(this, factor, maxNorm, around);
    }

    /** Frees what it keeps; the parameters are others'. */
    @Override
    void close();
}
