package org.peft4j.optim;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.Parameter;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.ops.Ops;

/**
 * AdamW (Loshchilov and Hutter 2019) with torch's defaults β = (0.9, 0.999), ε = 1e-8: one native call a step for all
 * parameters. Its state is keyed by the parameters' paths. Owns the moments; not safe from several threads.
 */
public final class AdamW implements AutoCloseable {
    private static final double BETA1 = 0.9;
    private static final double BETA2 = 0.999;
    private static final double EPS = 1e-8;

    private record Moments(Tensor first, Tensor second) {}

    private final List<ParameterGroup> groups;
    private final Map<String, Moments> moments = new HashMap<>();
    private long steps;

    public AdamW(List<ParameterGroup> groups) {
        this.groups = List.copyOf(groups);
        for (ParameterGroup group : groups) {
            for (Parameter parameter : group.parameters()) {
                Moments state = new Moments(zerosLike(parameter), zerosLike(parameter));
                if (moments.putIfAbsent(parameter.path(), state) != null) {
                    throw new IllegalArgumentException("parameter is in two groups: " + parameter.path());
                }
            }
        }
    }

    private static Tensor zerosLike(Parameter parameter) {
        return Scopes.owned(() -> Tensors.zeros(parameter.shape()));
    }

    public List<ParameterGroup> groups() {
        return groups;
    }

    /** Steps done. */
    public long steps() {
        return steps;
    }

    /**
     * Clips the gradients, changes the parameters, and sets the gradients to 0. A parameter without a gradient (no row of
     * the batch reached it) stays as it is.
     *
     * @param factor of the schedule, multiplies every group's learning rate
     * @param maxNorm joint norm of all gradients at most; 0: no limit
     * @return the norm before clipping
     */
    public double step(double factor, double maxNorm) {
        List<Tensor> values = new ArrayList<>();
        List<Tensor> gradients = new ArrayList<>();
        List<Tensor> first = new ArrayList<>();
        List<Tensor> second = new ArrayList<>();
        List<Double> rates = new ArrayList<>();
        List<Double> decays = new ArrayList<>();
        try (PointerScope scope = new PointerScope()) {
            for (ParameterGroup group : groups) {
                for (Parameter parameter : group.parameters()) {
                    Tensor gradient = parameter.value().grad();
                    if (gradient.defined()) {
                        Moments state = moments.get(parameter.path());
                        values.add(parameter.value());
                        gradients.add(gradient);
                        first.add(state.first());
                        second.add(state.second());
                        rates.add(group.learningRate() * factor);
                        decays.add(group.decayOf(parameter));
                    }
                }
            }
            double norm = Ops.clipGradNorm(gradients, maxNorm);
            steps++;
            Ops.adamw(values, gradients, first, second, array(rates), array(decays), BETA1, BETA2, EPS, steps);
            gradients.forEach(Tensor::zero_);
            return norm;
        }
    }

    private static double[] array(List<Double> values) {
        return values.stream().mapToDouble(Double::doubleValue).toArray();
    }

    @Override
    public void close() {
        moments.values().forEach(state -> {
            state.first().close();
            state.second().close();
        });
        moments.clear();
    }
}
