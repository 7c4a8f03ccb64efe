package org.peft4j.optim;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.Parameter;

/**
 * Adafactor (Shazeer and Stern 2018) as {@code transformers.Adafactor}: of the squares of a matrix's gradients only the means of rows
 * and columns are kept. ε are transformers', 1e-30 of squares and 1e-3 of a parameter's size.
 *
 * @param scaleParameter whether a step is as long as the parameter's root mean square (1e-3 at least) times the rate
 * @param relativeStep whether the rate is 1e-2 at most and falls with the root of the steps, in place of the group's
 * @param warmupInit whether that rate begins with 1e-6 times the step
 * @param clipThreshold root mean square of a change, before the rate, at most
 * @param decayRate exponent, below 0: at step t a share {@code t^decayRate} of the squares is new
 * @param beta1 share of the former change in the next one; null: none is kept
 * @see <a href="https://arxiv.org/abs/1804.04235">Adafactor: Adaptive Learning Rates with Sublinear Memory Cost</a>
 */
public record Adafactor(
        boolean scaleParameter,
        boolean relativeStep,
        boolean warmupInit,
        double clipThreshold,
        double decayRate,
        @Nullable Double beta1)
        implements UpdateRule {
    private static final double SQUARES_EPS = 1e-30;
    private static final double SIZE_EPS = 1e-3;
    private static final double ONE = 1.0;
    private static final String MOMENT = "exp_avg";
    private static final String SQUARES = "exp_avg_sq";
    private static final String ROWS = "exp_avg_sq_row";
    private static final String COLUMNS = "exp_avg_sq_col";

    @Override
    public String name() {
        return "adafactor";
    }

    @Override
    public Map<String, long[]> keeps(Parameter parameter) {
        long[] shape = parameter.shape();
        Map<String, long[]> kept = new LinkedHashMap<>();
        if (beta1 != null) {
            kept.put(MOMENT, shape);
        }
        if (shape.length < 2) {
            kept.put(SQUARES, shape);
        } else {
            kept.put(ROWS, Arrays.copyOf(shape, shape.length - 1));
            long[] columns = Arrays.copyOf(shape, shape.length - 1);
            columns[columns.length - 1] = shape[shape.length - 1];
            kept.put(COLUMNS, columns);
        }
        return kept;
    }

    @Override
    public double rate(double learningRate, long step) {
        return relativeStep ? Math.min(warmupInit ? 1e-6 * step : 1e-2, 1 / Math.sqrt(step)) : learningRate;
    }

    @Override
    public void change(List<Update> updates) {
        UpdateRule.each(updates, this::change);
    }

    private void change(Update update) {
        Tensor value = update.value();
        Tensor size =
                scaleParameter ? rms(value).clamp_min_(new Scalar(SIZE_EPS)).mul_(new Scalar(update.rate())) : null;
        Tensor change = direction(update);
        change.div_(rms(change).div_(new Scalar(clipThreshold)).clamp_min_(new Scalar(ONE)));
        if (size == null) {
            change.mul_(new Scalar(update.rate()));
        } else {
            change.mul_(size);
        }
        if (beta1 != null) {
            change = update.kept(MOMENT).mul_(new Scalar(beta1)).add_(change, new Scalar(1 - beta1));
        }
        if (update.decay() != 0) {
            if (size == null) {
                value.add_(value, new Scalar(-update.decay() * update.rate()));
            } else {
                value.addcmul_(value, size, new Scalar(-update.decay()));
            }
        }
        value.sub_(change);
    }

    /** The gradient over the root of what is known of its squares. */
    private Tensor direction(Update update) {
        Tensor gradient = update.gradient();
        double kept = 1 - Math.pow(update.step(), decayRate);
        Tensor squares = gradient.mul(gradient).add_(new Scalar(SQUARES_EPS));
        if (gradient.dim() < 2) {
            return averaged(update.kept(SQUARES), squares, kept).rsqrt().mul_(gradient);
        }
        Tensor rows = averaged(update.kept(ROWS), squares.mean(-1), kept);
        Tensor columns = averaged(update.kept(COLUMNS), squares.mean(-2), kept);
        Tensor rowMeans = rows.mean(new long[] {-1}, true, new ScalarTypeOptional());
        Tensor perRow = rows.div(rowMeans).rsqrt_().unsqueeze(-1);
        return perRow.mul(columns.unsqueeze(-2).rsqrt()).mul_(gradient);
    }

    private static Tensor averaged(Tensor average, Tensor now, double kept) {
        return average.mul_(new Scalar(kept)).add_(now, new Scalar(1 - kept));
    }

    private static Tensor rms(Tensor t) {
        return t.norm().div_(new Scalar(Math.sqrt(t.numel())));
    }
}
