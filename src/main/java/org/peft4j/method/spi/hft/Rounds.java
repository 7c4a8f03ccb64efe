package org.peft4j.method.spi.hft;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.hft.HftConfig;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.StepHook;

/**
 * Rounds of so many steps, each with a half of its own ({@link Halves}). The other half has no gradients: autograd does not make them, the
 * optimiser has no moments of it, and it stays, bit by bit, what it was at the end of the round before. With a round the optimiser begins
 * anew. A step that float16 leaves out does not count.
 */
final class Rounds implements StepHook {
    private static final String PROGRESS = "hft.progress";

    private final HftConfig config;
    private final Halves halves;
    private final Map<String, Parameter> drawn = new LinkedHashMap<>();
    private final long always;
    private @Nullable Tensor progress; // [2]: rounds that are done, steps of the one that is on
    private long length = Long.MAX_VALUE;
    private int round;
    private long done;

    /** @param parameters all of the adapter's, by path */
    Rounds(HftConfig config, Halves halves, Map<String, Parameter> parameters) {
        this.config = config;
        this.halves = halves;
        Set<String> some = halves.all();
        long rest = 0;
        for (Parameter parameter : parameters.values()) {
            if (some.contains(parameter.path())) {
                drawn.put(parameter.path(), parameter);
            } else {
                rest += parameter.elements();
            }
        }
        always = rest;
    }

    @Override
    public List<String> begin(long totalSteps) {
        Integer own = config.roundSteps();
        length = own == null ? Long.MAX_VALUE : own;
        to(0, 0);
        return own != null && own > totalSteps
                ? List.of("method.round_steps is " + own + ", the run has " + totalSteps
                        + " steps: one half alone is trained")
                : List.of();
    }

    private void to(int newRound, long newDone) {
        round = newRound;
        done = newDone;
        Set<String> trained = halves.trained(config.round() + round);
        try (PointerScope scope = new PointerScope()) {
            drawn.forEach((path, parameter) -> parameter.value().requires_grad_(trained.contains(path)));
        }
        keep();
    }

    private void keep() {
        if (progress == null) {
            progress = Scopes.owned(() -> Tensors.zeros(2));
        }
        try (PointerScope scope = new PointerScope()) {
            progress.copy_(Tensors.ofFloats(new float[] {round, done}, 2));
        }
    }

    @Override
    public void afterOptimizer(Step step) {
        done++;
        if (done == length) {
            to(round + 1, 0);
        } else {
            keep();
        }
    }

    @Override
    public boolean startsAnew(Step step) {
        return done == 0 && round > 0;
    }

    @Override
    public long trainedAtOnce(long all) {
        long most = 0;
        for (int next = 0; next <= (config.roundSteps() == null ? 0 : 3); next++) { // halves are nearly of one size
            Set<String> trained = halves.trained(config.round() + next);
            most = Math.max(
                    most,
                    drawn.values().stream()
                            .filter(parameter -> trained.contains(parameter.path()))
                            .mapToLong(Parameter::elements)
                            .sum());
        }
        return always + most;
    }

    /** The number of the round that a run that goes on begins with: one that no step was made of. */
    int next() {
        return config.round() + (done == 0 ? round : round + 1);
    }

    @Override
    public Map<String, Tensor> state() {
        return progress == null ? Map.of() : Map.of(PROGRESS, progress);
    }

    @Override
    public void restore(Map<String, Tensor> state) {
        Tensor given = state.get(PROGRESS);
        if (given == null || state.size() != 1 || given.numel() != 2) {
            throw new IllegalArgumentException(
                    "must have " + PROGRESS + " of two numbers, and nothing else, got " + state.keySet());
        }
        float[] numbers = Tensors.toFloats(given);
        if (!(numbers[0] >= 0 && numbers[1] >= 0 && numbers[1] < length)) {
            throw new IllegalArgumentException(PROGRESS + " must have rounds that are done, and less than " + length
                    + " steps of the next one, got " + numbers[0] + " and " + numbers[1]);
        }
        to((int) numbers[0], (long) numbers[1]);
    }

    @Override
    public void close() {
        if (progress != null) {
            progress.close();
            progress = null;
        }
    }
}
