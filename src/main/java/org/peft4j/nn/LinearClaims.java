package org.peft4j.nn;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.BiasDelta;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.InputUpdate;
import org.peft4j.nn.seam.LinearClaim;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.LowRankMixture;
import org.peft4j.nn.seam.Magnitude;
import org.peft4j.nn.seam.OutputUpdate;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.SequenceRows;
import org.peft4j.nn.seam.TaskLowRank;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.nn.seam.WeightDelta;
import org.peft4j.ops.Ops;

/**
 * What a {@link LinearGroup} does with the rows of neighbouring sequences that share weights, biases and factors; low-rank
 * updates may belong to some of them only. Found once a call, see {@link ForwardContext#plan}.
 */
final class LinearClaims {
    private static final long WIDE = 64; // lower ranks have kernels of their own

    /** Where adapters may act in one layer. */
    record Place(
            LinearPoint linear,
            TensorPoint weight,
            @Nullable TensorPoint bias) {
        static Place of(Linear layer) {
            Tensor w = layer.weight();
            return new Place(
                    new LinearPoint(layer.path(), w.size(1), w.size(0), false),
                    new TensorPoint(layer.weightPath(), w),
                    layer.bias() == null ? null : new TensorPoint(layer.biasPath(), layer.bias()));
        }
    }

    /** One layer, for all rows alike: its parameters in place of frozen tensors, and its claims but low-rank updates. */
    private record Layer(
            Place place,
            @Nullable Parameter weight,
            @Nullable Parameter bias,
            List<LinearClaim> claims) {
        boolean sameAs(Layer other) {
            return weight == other.weight && bias == other.bias && claims.equals(other.claims);
        }

        <C extends LinearClaim> List<C> all(Class<C> kind) {
            return claims.isEmpty() ? List.of() : only(kind, claims);
        }

        boolean hasAny(Class<? extends LinearClaim> kind) {
            return claims.stream().anyMatch(kind::isInstance);
        }

        /** What an input update is as an update of the frozen product, where nothing else reads the input; or null. */
        @Nullable
        LowRank turned(List<LinearClaim> all) {
            List<InputUpdate> inputs = all(InputUpdate.class);
            boolean others = all.stream().anyMatch(claim -> claim.adds() && !(claim instanceof BiasDelta));
            return inputs.size() == 1 && !others && weight == null
                    ? inputs.get(0).update(place.weight().value())
                    : null;
        }

        Layer withoutInputs() {
            return new Layer(
                    place,
                    weight,
                    bias,
                    claims.stream()
                            .filter(claim -> !(claim instanceof InputUpdate))
                            .toList());
        }
    }

    /** A low-rank update of one layer of the group, for sequences [first, last). */
    private record Update(int part, int first, int last, LowRank claim) {}

    /** The same where tasks have their own; all these sequences are of one. */
    private record OfTask(int part, int first, int last, int task, TaskLowRank claim) {}

    private final int first;
    private final int last;
    private final List<Layer> layers;
    private final List<Update> updates;
    private final List<OfTask> ofTasks;
    private final boolean joint;

    private LinearClaims(int first, int last, List<Layer> layers, List<Update> updates, List<OfTask> ofTasks) {
        this.first = first;
        this.last = last;
        this.layers = layers;
        this.updates = updates;
        this.ofTasks = ofTasks;
        joint = layers.stream().allMatch(layer -> layer.weight() == null && !layer.hasAny(InputUpdate.class));
    }

    /** All sequences of a call, in order. */
    static List<LinearClaims> runs(List<Place> places, ForwardContext context) {
        List<LinearClaims> runs = new ArrayList<>();
        for (ForwardContext.Segment segment : context.segments()) {
            List<Layer> layers = new ArrayList<>();
            List<Update> updates = new ArrayList<>();
            List<OfTask> ofTasks = new ArrayList<>();
            for (int i = 0; i < places.size(); i++) {
                List<LinearClaim> claims = context.at(places.get(i).linear()).of(segment);
                Layer layer = layer(places.get(i), claims, segment, context);
                LowRank turned = context.training() ? layer.turned(claims) : null;
                if (turned != null) {
                    layer = layer.withoutInputs();
                    updates.add(new Update(i, segment.first(), segment.last(), turned));
                }
                layers.add(layer);
                for (LowRank claim : only(LowRank.class, claims)) {
                    updates.add(new Update(i, segment.first(), segment.last(), claim));
                }
                for (TaskLowRank claim : only(TaskLowRank.class, claims)) {
                    ofTasks.add(new OfTask(i, segment.first(), segment.last(), segment.task(), claim));
                }
            }
            LinearClaims run = new LinearClaims(segment.first(), segment.last(), layers, updates, ofTasks);
            LinearClaims before = runs.isEmpty() ? null : runs.get(runs.size() - 1);
            if (before != null && before.sharesLayersWith(run)) {
                runs.set(runs.size() - 1, before.and(run));
            } else {
                runs.add(run);
            }
        }
        return runs;
    }

    private static Layer layer(
            Place place, List<LinearClaim> claims, ForwardContext.Segment segment, ForwardContext context) {
        return new Layer(
                place,
                context.at(place.weight()).one(segment, parameter -> parameter, null),
                place.bias() == null ? null : context.at(place.bias()).one(segment, parameter -> parameter, null),
                claims.stream()
                        .filter(claim -> !(claim instanceof LowRank || claim instanceof TaskLowRank))
                        .toList());
    }

    private static <C> List<C> only(Class<C> kind, List<LinearClaim> claims) {
        return claims.stream().filter(kind::isInstance).map(kind::cast).toList();
    }

    private boolean sharesLayersWith(LinearClaims other) {
        for (int i = 0; i < layers.size(); i++) {
            if (!layers.get(i).sameAs(other.layers.get(i))) {
                return false;
            }
        }
        return true;
    }

    private LinearClaims and(LinearClaims next) {
        List<Update> both = new ArrayList<>(updates);
        both.addAll(next.updates);
        List<OfTask> all = new ArrayList<>(ofTasks);
        all.addAll(next.ofTasks);
        return new LinearClaims(first, next.last, layers, both, all);
    }

    /** The same for one layer of the group alone. */
    LinearClaims only(int part) {
        return new LinearClaims(
                first,
                last,
                List.of(layers.get(part)),
                updates.stream()
                        .filter(update -> update.part() == part)
                        .map(update -> new Update(0, update.first(), update.last(), update.claim()))
                        .toList(),
                ofTasks.stream()
                        .filter(update -> update.part() == part)
                        .map(update -> new OfTask(0, update.first(), update.last(), update.task(), update.claim()))
                        .toList());
    }

    /** Whether all layers read the same x and have their frozen weights, so that one product does. */
    boolean joint() {
        return joint;
    }

    long firstRow(Packing rows) {
        return rows.begin(first);
    }

    Tensor rowsOf(Tensor x, Packing rows) {
        long begin = firstRow(rows);
        return x.narrow(0, begin, last == first ? 0 : rows.end(last - 1) - begin);
    }

    @Nullable
    Tensor weight(int part) {
        Parameter replaced = layers.get(part).weight();
        return replaced == null ? null : replaced.value();
    }

    boolean hasFrozenBiases() {
        return layers.stream().allMatch(layer -> layer.bias() == null);
    }

    @Nullable
    Tensor bias(int part, Tensor x) {
        Layer layer = layers.get(part);
        if (layer.bias() != null) {
            return layer.bias().value().to(x.scalar_type());
        }
        return layer.place().bias() == null ? null : layer.place().bias().value();
    }

    List<Tensor> biases(Tensor x) {
        List<Tensor> biases = new ArrayList<>();
        for (int i = 0; i < layers.size(); i++) {
            biases.add(Objects.requireNonNull(bias(i, x), "a layer without bias has none to replace"));
        }
        return biases;
    }

    /**
     * The low-rank updates, each of the rows on which it acts.
     *
     * @param drops whether elements of x are dropped on their way into them
     * @return with rows that count from this run's first
     */
    List<Ops.LowRankUpdate> updates(Packing rows, ForwardContext context, boolean drops) {
        long begin = firstRow(rows);
        List<Ops.LowRankUpdate> found = new ArrayList<>();
        List<Update> all = new ArrayList<>(updates);
        Map<TaskLowRank, List<OfTask>> byClaim = new LinkedHashMap<>();
        ofTasks.forEach(update -> byClaim.computeIfAbsent(update.claim(), claim -> new ArrayList<>())
                .add(update));
        byClaim.forEach((claim, own) -> all.addAll(bySequence(claim, own, rows, context)));
        for (Update update : all) {
            LowRank claim = update.claim();
            List<ForwardContext.Rows> acting = context.acting(claim.invocation(), rows, update.first(), update.last());
            if (acting.isEmpty()) {
                continue;
            }
            Tensor[] pair = claim.pair();
            for (ForwardContext.Rows own : acting) {
                found.add(new Ops.LowRankUpdate(
                        new Ops.PartRows(update.part(), own.first() - begin, own.last() - begin),
                        pair[0],
                        pair[1],
                        claim.scale(),
                        drops ? claim.dropout() : 0));
            }
        }
        return found;
    }

    /** The updates of one claim for sequences of tasks that have rows. */
    private static List<Update> bySequence(TaskLowRank claim, List<OfTask> own, Packing rows, ForwardContext context) {
        int[] sequences = own.stream()
                .flatMapToInt(update -> IntStream.range(update.first(), update.last()))
                .filter(s -> rows.length(s) > 0)
                .toArray();
        int[] tasks = own.stream()
                .flatMapToInt(update -> IntStream.range(update.first(), update.last())
                        .filter(s -> rows.length(s) > 0)
                        .map(s -> update.task()))
                .toArray();
        List<LowRank> updates = sequences.length == 0 ? List.of() : claim.updates(sequences, tasks, context);
        List<Update> found = new ArrayList<>();
        for (int i = 0; i < sequences.length; ) {
            int first = i;
            do {
                i++;
            } while (i < sequences.length
                    && updates.get(i) == updates.get(first)
                    && sequences[i] == sequences[i - 1] + 1);
            found.add(new Update(own.get(0).part(), sequences[first], sequences[i - 1] + 1, updates.get(first)));
        }
        return found;
    }

    /** What the layer reads in place of x. */
    Tensor input(int part, Tensor x) {
        Tensor read = x;
        for (InputUpdate update : layers.get(part).all(InputUpdate.class)) {
            read = update.of(read);
        }
        return read;
    }

    /** The probability with which a magnitude's own dropout takes elements of x away; 0 if there is none. */
    double inputDropout(int part) {
        boolean drops = layers.get(part).all(Magnitude.class).stream().anyMatch(Magnitude::dropsInput);
        return drops
                ? updates.stream()
                        .filter(update -> update.part() == part)
                        .mapToDouble(update -> update.claim().dropout())
                        .max()
                        .orElse(0)
                : 0;
    }

    /** Whether any layer's is more than 0. */
    boolean dropsInput() {
        for (int i = 0; i < layers.size(); i++) {
            if (inputDropout(i) > 0) {
                return true;
            }
        }
        return false;
    }

    /**
     * What is added to the product, and the magnitude of both; factors of 1 leave every bit.
     *
     * @param y the product and its bias
     * @param training whether elements of x are dropped on their way into what is added, by this seed
     */
    Tensor product(int part, Tensor x, Tensor y, boolean training, long seed) {
        Tensor sum = y;
        for (WeightDelta delta : layers.get(part).all(WeightDelta.class)) {
            sum = sum.add(delta.product(training ? Ops.dropout(x, delta.dropout(), seed) : x));
        }
        for (Magnitude magnitude : layers.get(part).all(Magnitude.class)) {
            sum = multiplied(sum, magnitude.factors(), bias(part, x));
        }
        return sum;
    }

    /** {@code factors ∘ (y - bias) + bias}. */
    private static Tensor multiplied(Tensor y, Tensor factors, @Nullable Tensor bias) {
        if (isFloat(y)) { // one pass over the rows; it keeps none but y for backward
            return bias == null ? y.mul(factors) : torch.addcmul(bias.sub(bias.mul(factors)), y, factors);
        }
        Tensor more = factors.sub(new Scalar(1.0)).to(y.scalar_type()); // factors near 1 are no half-precision numbers
        return y.add((bias == null ? y : y.sub(bias)).mul(more));
    }

    /**
     * Whether rows are multiplied with a matrix of a layer's own, {@link #whole}: while training on a CPU, where all rows of the run share what
     * is claimed, nothing is dropped from what they read, and that is less work. A row then goes through one matrix forward, and
     * through one of as many elements for each of the two gradients, whatever is claimed. Only in float32: rounded to half, the sum of
     * a weight and a small update is the weight.
     */
    boolean isWhole(int part, Tensor x, Packing rows, ForwardContext context) {
        Layer layer = layers.get(part);
        if (!context.training()
                || layer.weight() != null
                || !x.is_cpu() // a card's weights are elsewhere than their tensors
                || !isFloat(x)
                || !isFloat(layer.place().weight().value())
                || ofTasks.stream().anyMatch(update -> update.part() == part)) {
            return false;
        }
        long in = layer.place().linear().in();
        long out = layer.place().linear().out();
        List<Update> own =
                updates.stream().filter(update -> update.part() == part).toList();
        List<WeightDelta> deltas = layer.all(WeightDelta.class);
        boolean alike = own.stream()
                        .allMatch(update -> update.first() == first
                                && update.last() == last
                                && update.claim().dropout() == 0
                                && update.claim().invocation().isEmpty())
                && deltas.stream().allMatch(delta -> delta.dropout() == 0);
        if (!alike || rowCount(rows) < Math.min(in, out)) {
            return false;
        }
        return turnsMatrix(part)
                || deltas.stream().anyMatch(delta -> delta.prefersMatrix(in, out))
                || own.stream().anyMatch(update -> isWide(update.claim().knownRank(), in, out));
    }

    private static boolean isFloat(Tensor x) {
        return x.scalar_type().intern() == ScalarType.Float;
    }

    /** Whether an update and its two gradients multiply more for a row than the gradient of a matrix. */
    private static boolean isWide(long rank, long in, long out) {
        return rank >= WIDE && 3 * rank * (in + out) > in * out;
    }

    /** Whether {@link #whole} has what is done to the layer's input, so that it reads x as it is. */
    boolean turnsMatrix(int part) {
        Layer layer = layers.get(part);
        LinearPoint linear = layer.place().linear();
        List<InputUpdate> inputs = layer.all(InputUpdate.class);
        return !inputs.isEmpty()
                && inputs.stream().allMatch(update -> update.prefersMatrix(linear.in(), linear.out()))
                && !layer.hasAny(LowRankMixture.class);
    }

    private long rowCount(Packing rows) {
        return last == first ? 0 : rows.end(last - 1) - firstRow(rows);
    }

    /** A layer's matrix with all that is claimed of it, [out, in]. */
    Tensor whole(int part) {
        Layer layer = layers.get(part);
        Tensor w = layer.place().weight().value();
        for (Update update : updates) {
            if (update.part() == part) {
                LowRank claim = update.claim();
                Tensor[] pair = claim.pair();
                w = torch.addmm(w, pair[1], pair[0], new Scalar(1.0), new Scalar(claim.scale()));
            }
        }
        for (WeightDelta delta : layer.all(WeightDelta.class)) {
            w = delta.addedTo(w);
        }
        for (Magnitude magnitude : layer.all(Magnitude.class)) {
            w = w.mul(magnitude.factors().unsqueeze(1));
        }
        if (turnsMatrix(part)) {
            List<InputUpdate> inputs = new ArrayList<>(layer.all(InputUpdate.class));
            Collections.reverse(inputs); // x F G reads w Gᵀ Fᵀ
            for (InputUpdate input : inputs) {
                w = input.merged(w);
            }
        }
        return w;
    }

    /**
     * The product and the mixtures of updates that are added to it.
     *
     * @param rows how the rows of the whole call lie, of which x has this run's
     */
    Tensor mixed(int part, Tensor x, Tensor product, Packing rows, ForwardContext context, long seed) {
        if (last == first) {
            return product;
        }
        Tensor sum = product;
        for (LowRankMixture mixture : layers.get(part).all(LowRankMixture.class)) {
            Tensor weights = mixture.weights(x, new SequenceRows(rows, first, last), context);
            sum = sum.add(Mixtures.of(mixture.parts(), x, weights, context.training(), seed));
        }
        return sum;
    }

    /** What the layer gives, of the product with its bias. */
    Tensor output(int part, Tensor product) {
        Tensor y = product;
        for (BiasDelta delta : layers.get(part).all(BiasDelta.class)) {
            y = y.add(delta.vector().to(y.scalar_type()));
        }
        for (OutputUpdate update : layers.get(part).all(OutputUpdate.class)) {
            y = update.of(y);
        }
        return y;
    }
}
