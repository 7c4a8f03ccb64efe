package org.peft4j.method.spi.cpt;

import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.method.cpt.CptConfig;
import org.peft4j.method.cpt.LossWeights;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.InsertedRows;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.ToldRow;
import org.peft4j.ops.Device;

/**
 * Rows that may move a little from where they are: {@code centre + δ}. Each use in training brings δ back to within its distance first,
 * in place, as Hugging Face PEFT does; the gradient is that of δ itself.
 */
final class CptRows implements InsertedRows {
    /** Types of one example: around the input, input, around the output, label. */
    private static final int TYPES = 4;

    private static final int INPUT = 2;

    /** The model width for which an epsilon is what it says. */
    private static final double WIDTH = 2048;

    private static final double LEAST = 1e-10;

    private final CptConfig config;
    private final float[] centre;
    private final Parameter delta;
    private final float[] moves; // 1 for rows that are trained
    private final float[] distances;

    /** @param centre where the rows are without δ, [count, C] row-major */
    CptRows(CptConfig config, float[] centre, Parameter delta) {
        this.config = config;
        this.centre = centre;
        this.delta = delta;
        int count = count();
        moves = new float[count];
        distances = new float[count];
        double unit = Math.sqrt(delta.shape()[1] / WIDTH);
        for (int i = 0; i < count; i++) {
            int part = config.tokenTypes().get(i) % TYPES;
            moves[i] = part == 0 ? 0 : 1;
            distances[i] = (float)
                    (part == 0
                            ? LEAST
                            : (part == INPUT
                                            ? config.distance().inputEpsilon()
                                            : config.distance().formatEpsilon())
                                    * unit);
        }
    }

    @Override
    public int count() {
        return config.promptTokens().size();
    }

    @Override
    public Tensor rows(ForwardContext context) {
        Tensor value = delta.value();
        Device device = Device.of(value);
        if (context.training()) {
            try (NoGradGuard still = new NoGradGuard()) {
                value.detach().copy_(within(value.detach()));
            }
        } else {
            value = within(value);
        }
        Tensor moved = value.mul(Tensors.ofFloats(device, moves, moves.length, 1));
        return Tensors.ofFloats(device, centre, delta.shape()).add(moved);
    }

    /** Rows that are too long, shortened: {@code δ · min(1, distance / |δ|)}. */
    private Tensor within(Tensor rows) {
        Tensor most = Tensors.ofFloats(Device.of(rows), distances, distances.length, 1);
        Tensor length = rows.norm(new ScalarOptional(new Scalar(2.0)), new long[] {1}, true);
        return rows.mul(most.div(length.maximum(most).clamp_min(new Scalar(LEAST))));
    }

    /** The labels of the examples, all but a row that nothing stands before. */
    @Override
    public List<ToldRow> told() {
        TreeMap<Integer, Double> weights = new TreeMap<>();
        config.tokenTypes().stream().filter(CptRows::isLabel).forEach(type -> weights.put(type, 1.0));
        if (config.loss().lossWeights() == LossWeights.DECAY) {
            double weight = 1; // of the text's tokens
            for (int type : weights.descendingKeySet()) {
                weight *= config.loss().lossDecay();
                weights.put(type, weight);
            }
        }
        List<ToldRow> told = new ArrayList<>();
        for (int i = 1; i < count(); i++) {
            int type = config.tokenTypes().get(i);
            if (isLabel(type)) {
                told.add(new ToldRow(i, config.promptTokens().get(i), weights.get(type)));
            }
        }
        return told;
    }

    private static boolean isLabel(int type) {
        return type > 0 && type % TYPES == 0;
    }

    /** Refuses types with which PEFT would train nothing, or not the text. */
    static void check(CptConfig config) {
        if (config.promptTokens().isEmpty()) {
            throw new IllegalArgumentException("prompt_tokens must have at least one token, such as those of"
                    + " \"great film => positive\", got []");
        }
        int last =
                config.tokenTypes().stream().mapToInt(Integer::intValue).max().orElseThrow();
        if (last % TYPES != 0) {
            throw new IllegalArgumentException(
                    "token_types must end with the type of a label, a multiple of 4: the text's"
                            + " tokens are of the type behind it and count only then; the largest is " + last);
        }
        if (config.tokenTypes().stream().allMatch(type -> type % TYPES == 0)) {
            throw new IllegalArgumentException("token_types must have a token that may move (1, 2 or 3, or these and a"
                    + " multiple of 4), got " + config.tokenTypes());
        }
    }
}
