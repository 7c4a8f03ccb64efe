package org.peft4j.method.spi.adalora;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.Supplier;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.method.adalora.AdaLoraConfig;
import org.peft4j.method.adalora.RankBudget;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.StepHook;
import org.peft4j.ops.Device;

/**
 * Shares a budget of ranks among the layers while they train (Zhang et al. 2023, as Hugging Face PEFT computes it). Behind each
 * optimiser step t, of parameters w and their gradients g:
 *
 * <pre>
 * i = |w ∘ g|    I ← β₁ I + (1 - β₁) i    U ← β₂ U + (1 - β₂) |i - I|    s = I ∘ U
 * score of a triplet = s of its E + (mean s of its row of A + mean s of its column of B)
 * </pre>
 *
 * The budget, of all layers together, falls from init to target with the cube of the time between tinit and total - tfinal; every deltaT
 * steps the triplets whose scores are not above the (init - budget)-th smallest get a zero in E. They go on to be trained and may come
 * back. At step total - tfinal the choice is made for the last time, and kept from then on.
 *
 * <p>Nothing waits for a card: the threshold stays there. An adapter whose file has ranks chosen already keeps those.
 */
final class RankAllocator implements StepHook {
    private static final String IMPORTANCE = "importance.";
    private static final String UNCERTAINTY = "uncertainty.";
    private static final String KEPT = "kept.";

    /** Smoothed importance of each element of a parameter, and its deviation. */
    private record Moments(Tensor importance, Tensor uncertainty) {
        static Moments zeros(Parameter parameter) {
            return new Moments(zerosLike(parameter), zerosLike(parameter));
        }

        private static Tensor zerosLike(Parameter parameter) {
            return Scopes.owned(() -> Tensors.zeros(Device.of(parameter.value()), parameter.shape()));
        }

        void close() {
            importance.close();
            uncertainty.close();
        }
    }

    private final AdaLoraConfig config;
    private final List<Triplets> layers;
    private final boolean chosen;
    private final long initial;
    private final long target;
    private final Map<Parameter, Moments> moments = new LinkedHashMap<>();
    private final Map<Triplets, Tensor> kept = new LinkedHashMap<>(); // [r, 1], 1 where a rank is left
    private long total;

    /**
     * @param layers all that are adapted
     * @param chosen whether their ranks are what an earlier run found
     */
    RankAllocator(AdaLoraConfig config, List<Triplets> layers, boolean chosen) {
        this.config = config;
        this.layers = List.copyOf(layers);
        this.chosen = chosen;
        initial = layers.stream().mapToLong(Triplets::rank).sum();
        target = (long) config.budget().targetR() * layers.size();
        Integer own = config.budget().totalStep();
        total = own == null ? 0 : own;
    }

    @Override
    public List<String> begin(long totalSteps) {
        forget();
        if (chosen) {
            return List.of("the adapter's ranks are those that an earlier run found, " + initial + " in "
                    + layers.size() + " layers: they stay as they are");
        }
        RankBudget budget = config.budget();
        Integer own = budget.totalStep();
        total = own == null ? totalSteps : own;
        if (budget.tinit() >= total - budget.tfinal()) {
            throw new IllegalArgumentException("tinit " + budget.tinit() + " and tfinal " + budget.tfinal()
                    + " leave no step between them in which ranks could be taken: together they must be less than the run's "
                    + total + " steps; lower them, or train for more steps");
        }
        if (totalSteps < total - budget.tfinal()) {
            return List.of(
                    "method.total_step is " + total + ", the run has " + totalSteps + " steps: it ends before target_r "
                            + budget.targetR()
                            + " is reached; leave total_step out to take the run's, and say method where the run goes on from an adapter");
        }
        return totalSteps == total
                ? List.of()
                : List.of("method.total_step is " + total + ", the run has " + totalSteps
                        + " steps: ranks are final at step " + (total - budget.tfinal()));
    }

    private void forget() {
        forgetMoments();
        kept.values().forEach(Tensor::close);
        kept.clear();
    }

    private void forgetMoments() {
        moments.values().forEach(Moments::close);
        moments.clear();
    }

    @Override
    public Optional<Tensor> penalty() {
        if (config.orthRegWeight() == 0) {
            return Optional.empty();
        }
        Tensor sum = null;
        for (Triplets layer : layers) {
            if (layer.rank() > 0) { // else there is nothing to be orthonormal; it counts in the mean, as in PEFT
                Tensor a = layer.a().value();
                Tensor b = layer.b().value();
                Tensor both = fromIdentity(a.matmul(a.t())).add(fromIdentity(b.t().matmul(b)));
                sum = sum == null ? both : sum.add(both);
            }
        }
        return sum == null
                ? Optional.empty()
                : Optional.of(sum.mul(new Scalar(config.orthRegWeight() / (2.0 * layers.size()))));
    }

    private static Tensor fromIdentity(Tensor gram) {
        return gram.sub(torch.eye(gram.size(0), gram.options())).norm();
    }

    @Override
    public void afterOptimizer(Step step) {
        if (chosen) {
            return;
        }
        RankBudget budget = config.budget();
        long last = total - budget.tfinal();
        if (step.number() < last) {
            measure();
            if (step.number() > budget.tinit() && step.number() % budget.deltaT() == 0) {
                choose(ranks(step.number()));
            }
        } else if (kept.isEmpty() || !moments.isEmpty()) { // for the last time; later where float16 left this step out
            if (moments.isEmpty()) {
                measure();
            }
            choose(ranks(step.number()));
            forgetMoments();
        } else {
            kept.forEach((layer, left) -> mask(layer, left.eq(new Scalar(0.0))));
        }
    }

    /** The ranks of all layers together that step t leaves. */
    long ranks(long t) {
        RankBudget budget = config.budget();
        if (t <= budget.tinit()) {
            return initial;
        }
        if (t >= total - budget.tfinal()) {
            return target;
        }
        double left = 1 - (double) (t - budget.tinit()) / (total - budget.tfinal() - budget.tinit());
        return (long) ((initial - target) * Math.pow(left, 3) + target);
    }

    private void measure() {
        double beta1 = config.importance().beta1();
        double beta2 = config.importance().beta2();
        for (Triplets layer : layers) {
            for (Parameter parameter : layer.all()) {
                Moments of = moments.computeIfAbsent(parameter, Moments::zeros);
                Tensor gradient = parameter.value().grad();
                Tensor now = gradient.defined()
                        ? parameter.value().detach().mul(gradient).abs()
                        : torch.zeros_like(of.importance());
                of.importance().mul_(new Scalar(beta1)).add_(now, new Scalar(1 - beta1));
                of.uncertainty()
                        .mul_(new Scalar(beta2))
                        .add_(now.sub(of.importance()).abs(), new Scalar(1 - beta2));
            }
        }
    }

    private void choose(long ranks) {
        long taken = initial - ranks;
        Map<Triplets, Tensor> scores = new LinkedHashMap<>();
        TensorVector all = new TensorVector();
        for (Triplets layer : layers) {
            Tensor score = score(layer.e())
                    .view(-1)
                    .add(score(layer.a()).mean(1).add(score(layer.b()).mean(0)));
            scores.put(layer, score.unsqueeze(1));
            all.push_back(score);
        }
        Tensor threshold = torch.kthvalue(torch.cat(all, 0), taken).get0(); // on the card, if there
        scores.forEach((layer, score) -> {
            Tensor gone = score.le(threshold);
            mask(layer, gone);
            keep(layer, () -> gone.logical_not().to(torch.ScalarType.Float));
        });
    }

    private Tensor score(Parameter parameter) {
        Moments of = Objects.requireNonNull(moments.get(parameter));
        return of.importance().mul(of.uncertainty());
    }

    private void keep(Triplets layer, Supplier<Tensor> left) {
        Tensor former = kept.put(layer, Scopes.owned(left));
        if (former != null) {
            former.close();
        }
    }

    private static void mask(Triplets layer, Tensor gone) {
        layer.e().value().detach().masked_fill_(gone, new Scalar(0.0));
    }

    /** The steps of the run; 0: no run has begun. */
    long total() {
        return total;
    }

    /**
     * Which ranks of each layer an adapter as it is now needs, by the path of its E: those that the last choice left, and those that
     * were trained away from zero since. Empty before the first choice.
     */
    Map<String, List<Boolean>> pattern() {
        Map<String, List<Boolean>> pattern = new LinkedHashMap<>();
        kept.forEach((layer, left) -> pattern.put(layer.e().path(), needed(layer, left)));
        return pattern;
    }

    private static List<Boolean> needed(Triplets layer, Tensor left) {
        float[] kept = Tensors.toFloats(left);
        float[] values = Tensors.toFloats(layer.e().value());
        List<Boolean> needed = new ArrayList<>();
        for (int k = 0; k < values.length; k++) {
            needed.add(kept[k] != 0 || values[k] != 0);
        }
        return needed;
    }

    @Override
    public Map<String, Tensor> state() {
        Map<String, Tensor> state = new LinkedHashMap<>();
        moments.forEach((parameter, of) -> {
            state.put(IMPORTANCE + parameter.path(), of.importance());
            state.put(UNCERTAINTY + parameter.path(), of.uncertainty());
        });
        kept.forEach((layer, left) -> state.put(KEPT + layer.e().path(), left));
        return state;
    }

    @Override
    public void restore(Map<String, Tensor> state) {
        Set<String> unknown = new LinkedHashSet<>(state.keySet());
        boolean measured = state.keySet().stream().anyMatch(name -> name.startsWith(IMPORTANCE));
        boolean masked = state.keySet().stream().anyMatch(name -> name.startsWith(KEPT));
        for (Triplets layer : layers) {
            for (Parameter parameter : measured ? layer.all() : List.<Parameter>of()) {
                check(state, IMPORTANCE, parameter);
                check(state, UNCERTAINTY, parameter);
                unknown.remove(IMPORTANCE + parameter.path());
                unknown.remove(UNCERTAINTY + parameter.path());
            }
            if (masked) {
                check(state, KEPT, layer.e());
                unknown.remove(KEPT + layer.e().path());
            }
        }
        if (!unknown.isEmpty() || chosen && !state.isEmpty()) {
            throw new IllegalArgumentException("state of AdaLoRA's ranks has tensors of no layer here, such as "
                    + (unknown.isEmpty() ? state.keySet() : unknown).iterator().next());
        }
        forget();
        for (Triplets layer : layers) {
            for (Parameter parameter : measured ? layer.all() : List.<Parameter>of()) {
                moments.put(
                        parameter,
                        new Moments(copy(state, IMPORTANCE, parameter), copy(state, UNCERTAINTY, parameter)));
            }
            if (masked) {
                kept.put(layer, copy(state, KEPT, layer.e()));
            }
        }
    }

    private static void check(Map<String, Tensor> state, String kind, Parameter of) {
        Tensor value = state.get(kind + of.path());
        if (value == null) {
            throw new IllegalArgumentException("state of AdaLoRA's ranks lacks " + kind + of.path());
        }
        if (!Arrays.equals(Tensors.shape(value), of.shape())) {
            throw new IllegalArgumentException("state of AdaLoRA's ranks: " + kind + of.path() + " must have shape "
                    + Arrays.toString(of.shape()) + ", has "
                    + Arrays.toString(Tensors.shape(value)));
        }
    }

    private static Tensor copy(Map<String, Tensor> state, String kind, Parameter of) {
        Tensor value = Objects.requireNonNull(state.get(kind + of.path()));
        return Scopes.owned(() -> Device.of(of.value()).move(value.detach()).clone());
    }

    @Override
    public void close() {
        forget();
    }
}
