package org.peft4j.optim;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/**
 * AdamW (Loshchilov and Hutter 2019) with torch's defaults β = (0.9, 0.999), ε = 1e-8: one native call a step for all
 * parameters. Its state is keyed by the parameters' paths, and each
 * parameter has a step count of its own. Owns the moments; not safe from several threads.
 */
public final class AdamW implements AutoCloseable {
    private static final double BETA1 = 0.9;
    private static final double BETA2 = 0.999;
    private static final double EPS = 1e-8;

    /** What is known of a parameter: moments, from its first step on, and the number of steps that they are made of. */
    private static final class State {
        @Nullable
        Tensor first;

        @Nullable
        Tensor second;

        long steps;

        /** The moments, 0 before the first step. */
        State madeFor(Parameter parameter) {
            if (first == null) {
                first = zerosLike(parameter);
                second = zerosLike(parameter);
            }
            return this;
        }

        void forget() {
            if (first != null && second != null) {
                first.close();
                second.close();
            }
            first = null;
            second = null;
            steps = 0;
        }
    }

    private final List<ParameterGroup> groups;
    private final Map<String, State> states = new HashMap<>();

    public AdamW(List<ParameterGroup> groups) {
        this.groups = List.copyOf(groups);
        for (ParameterGroup group : groups) {
            for (Parameter parameter : group.parameters()) {
                if (states.containsKey(parameter.path())) {
                    close();
                    throw new IllegalArgumentException("parameter is in two groups: " + parameter.path());
                }
                states.put(parameter.path(), new State());
            }
        }
    }

    private static Tensor zerosLike(Parameter parameter) {
        return Scopes.owned(() -> Tensors.zeros(Device.of(parameter.value()), parameter.shape()));
    }

    public List<ParameterGroup> groups() {
        return groups;
    }

    /** Steps that the parameter with this path took part in. */
    public long steps(String path) {
        State state = states.get(path);
        if (state == null) {
            throw new IllegalArgumentException("no parameter of this optimiser: " + path);
        }
        return state.steps;
    }

    /** Begins anew: moments are zero again, and take no memory until a parameter has its next step. */
    public void forget() {
        states.values().forEach(State::forget);
    }

    /** What else happens in a step that changes parameters, while its gradients are there: unscaled and clipped. */
    public interface Around {
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

    /** What {@link #step} takes along: one entry of each list for each parameter with a gradient. */
    private static final class Taking {
        final List<State> states = new ArrayList<>();
        final List<Tensor> values = new ArrayList<>();
        final List<Tensor> gradients = new ArrayList<>();
        final List<Double> rates = new ArrayList<>();
        final List<Double> decays = new ArrayList<>();
    }

    /**
     * Clips the gradients, changes the parameters, and takes the gradients away: they are undefined again. A parameter
     * without a gradient (no row of the batch reached it) stays as it is, without decay, and its moments and number of steps
     * do, too. Where the norm is not finite, nothing is changed but that the gradients are gone.
     *
     * @param factor of the schedule, multiplies every group's learning rate
     * @param maxNorm joint norm of all gradients at most; 0: no limit
     * @return the norm before clipping
     */
    public double step(double factor, double maxNorm) {
        return step(factor, maxNorm, 1);
    }

    /**
     * As {@link #step(double, double)}, of gradients that are too large.
     *
     * @param scale by which they are divided first; so is their norm
     */
    public double step(double factor, double maxNorm, double scale) {
        return step(factor, maxNorm, scale, Around.NOTHING);
    }

    /**
     * As {@link #step(double, double, double)}.
     *
     * @param around what else happens, unless the norm is not finite
     */
    public double step(double factor, double maxNorm, double scale, Around around) {
        try (PointerScope scope = new PointerScope()) {
            Taking taking = taking(factor);
            if (scale != 1) {
                Scalar inverse = new Scalar(1 / scale);
                taking.gradients.forEach(gradient -> gradient.mul_(inverse));
            }
            double norm = Ops.clipGradNorm(taking.gradients, maxNorm);
            if (Double.isFinite(norm)) {
                around.before();
                change(taking);
                around.after();
            }
            taking.values.forEach(AdamW::takeGradientAway);
            return norm;
        }
    }

    /**
     * As {@link #step(double, double)}, but does not wait for a card: where the norm turns out not to be finite, parameters and
     * moments are lost.
     *
     * @return the norm before clipping, one number on the card; the caller closes it
     */
    public Tensor stepAhead(double factor, double maxNorm) {
        return stepAhead(factor, maxNorm, Around.NOTHING);
    }

    /** As {@link #stepAhead(double, double)}, with what else happens, which must not wait for the card. */
    public Tensor stepAhead(double factor, double maxNorm, Around around) {
        return Scopes.owned(() -> {
            Taking taking = taking(factor);
            Tensor norm = Ops.clipGradNormUnread(taking.gradients, maxNorm);
            around.before();
            change(taking);
            around.after();
            taking.values.forEach(AdamW::takeGradientAway);
            return norm;
        });
    }

    private static void change(Taking taking) {
        taking.states.forEach(state -> state.steps++);
        Ops.adamw(
                taking.values,
                taking.gradients,
                taking.states.stream()
                        .map(state -> Objects.requireNonNull(state.first))
                        .toList(),
                taking.states.stream()
                        .map(state -> Objects.requireNonNull(state.second))
                        .toList(),
                array(taking.rates),
                array(taking.decays),
                taking.states.stream().mapToLong(state -> state.steps).toArray(),
                BETA1,
                BETA2,
                EPS);
    }

    private Taking taking(double factor) {
        Taking taking = new Taking();
        for (ParameterGroup group : groups) {
            for (Parameter parameter : group.parameters()) {
                State state = states.get(parameter.path());
                Tensor gradient = parameter.value().grad();
                if (state != null && gradient.defined()) {
                    taking.states.add(state.madeFor(parameter));
                    taking.values.add(parameter.value());
                    taking.gradients.add(gradient);
                    taking.rates.add(group.learningRate() * factor);
                    taking.decays.add(group.decayOf(parameter));
                }
            }
        }
        return taking;
    }

    private static void takeGradientAway(Tensor value) {
        value.mutable_grad().reset();
    }

    private static double[] array(List<Double> values) {
        return values.stream().mapToDouble(Double::doubleValue).toArray();
    }

    @Override
    public void close() {
        forget();
        states.clear();
    }
}
