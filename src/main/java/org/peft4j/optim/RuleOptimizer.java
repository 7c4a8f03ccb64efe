package org.peft4j.optim;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;

/** An optimiser of any rule: keeps for it what it knows of each parameter, on the parameter's device. Owns that, and the rule. */
public class RuleOptimizer implements Optimizer {
    /** What is known of a parameter, from its first step on, and the number of steps that it is made of. */
    private static final class State {
        final Parameter parameter;
        final Map<String, Tensor> kept = new LinkedHashMap<>();
        long steps;

        State(Parameter parameter) {
            this.parameter = parameter;
        }

        void forget() {
            kept.values().forEach(Tensor::close);
            kept.clear();
            steps = 0;
        }
    }

    private final UpdateRule rule;
    private final List<ParameterGroup> groups;
    private final Map<String, State> states = new LinkedHashMap<>();

    /** @throws IllegalArgumentException if a parameter is in two groups */
    public RuleOptimizer(UpdateRule rule, List<ParameterGroup> groups) {
        this.rule = rule;
        this.groups = List.copyOf(groups);
        try {
            this.groups.forEach(group -> group.parameters().forEach(this::add));
        } catch (RuntimeException e) {
            free();
            throw e;
        }
    }

    private void add(Parameter parameter) {
        if (states.putIfAbsent(parameter.path(), new State(parameter)) != null) {
            throw new IllegalArgumentException("parameter is in two groups: " + parameter.path());
        }
    }

    /** All 0 before the first step. */
    private Map<String, Tensor> kept(State state) {
        if (state.kept.isEmpty()) {
            Device device = Device.of(state.parameter.value());
            rule.keeps(state.parameter)
                    .forEach((name, shape) -> state.kept.put(name, Scopes.owned(() -> Tensors.zeros(device, shape))));
        }
        return state.kept;
    }

    @Override
    public void forget() {
        states.values().forEach(State::forget);
    }

    @Override
    public List<ParameterGroup> groups() {
        return groups;
    }

    @Override
    public long steps(String path) {
        return of(path).steps;
    }

    private State of(String path) {
        State state = states.get(path);
        if (state == null) {
            throw new IllegalArgumentException("no parameter of this optimiser: " + path);
        }
        return state;
    }

    @Override
    public double rate(ParameterGroup group, double factor, long step) {
        return rule.rate(group.learningRate(), step) * factor;
    }

    @Override
    public void change(List<Given> given, double factor) {
        List<UpdateRule.Update> updates = new ArrayList<>(given.size());
        for (Given one : given) {
            State state = of(one.parameter().path());
            state.steps++;
            updates.add(new UpdateRule.Update(
                    one.parameter(),
                    one.gradient(),
                    rate(one.group(), factor, state.steps),
                    one.group().decayOf(one.parameter()),
                    state.steps,
                    kept(state)));
        }
        try (NoGradGuard still = new NoGradGuard()) {
            rule.change(updates);
        }
    }

    @Override
    public OptimizerState state() {
        Map<String, OptimizerState.OfParameter> parameters = new LinkedHashMap<>();
        states.forEach((path, state) -> parameters.put(path, new OptimizerState.OfParameter(state.steps, state.kept)));
        return new OptimizerState(rule.name(), parameters);
    }

    @Override
    public void restore(OptimizerState from) {
        if (!from.rule().equals(rule.name())) {
            throw new IllegalArgumentException("the optimiser's state is of " + from.rule()
                    + ", but it is to go on with " + rule.name() + "; choose the same optimizer as before");
        }
        from.parameters().keySet().forEach(this::of);
        states.forEach((path, state) -> check(path, state, from.parameters().get(path)));
        states.forEach((path, state) -> {
            OptimizerState.OfParameter other = from.parameters().get(path);
            state.forget();
            state.steps = other.steps();
            if (other.steps() > 0) {
                try (NoGradGuard still = new NoGradGuard()) {
                    kept(state)
                            .forEach((name, tensor) -> Scopes.scoped(
                                    () -> tensor.copy_(other.tensors().get(name))));
                }
            }
        });
    }

    private void check(String path, State state, OptimizerState.@Nullable OfParameter from) {
        if (from == null) {
            throw new IllegalArgumentException("the optimiser's state has nothing of " + path);
        }
        if (from.steps() == 0 && from.tensors().isEmpty()) {
            return; // it had no step
        }
        Map<String, long[]> keeps = rule.keeps(state.parameter);
        if (!from.tensors().keySet().equals(keeps.keySet())) {
            throw new IllegalArgumentException("the optimiser's state of " + path + " must be " + keeps.keySet()
                    + ", got " + from.tensors().keySet() + "; choose its settings as before");
        }
        keeps.forEach((name, expected) -> {
            Tensor other = from.tensors().get(name);
            long[] received = Tensors.shape(other);
            if (!Arrays.equals(expected, received) || other.scalar_type().intern() != ScalarType.Float) {
                throw new IllegalArgumentException("the optimiser's " + name + " of " + path
                        + " must be float32 with shape " + Arrays.toString(expected) + ", got "
                        + other.scalar_type().intern() + " with " + Arrays.toString(received));
            }
        });
    }

    private void free() {
        forget();
        states.clear();
    }

    @Override
    public void close() {
        free();
        rule.close();
    }
}
