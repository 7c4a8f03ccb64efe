package org.peft4j.optim;

import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;

/**
 * Muon (Jordan 2024) as {@code torch.optim.Muon}: a matrix goes by its momentum made orthogonal, by a few Newton-Schulz
 * iterations. What is no matrix (other than two dimensions) goes by AdamW with its defaults, at the same rate.
 *
 * @param momentum share of the former momentum
 * @param nesterov whether a step goes where the momentum will be
 * @param nsSteps Newton-Schulz iterations
 * @param length how a matrix's shape changes its rate
 * @param iterated type in which the iterations are computed; torch's is bfloat16
 * @see <a href="https://kellerjordan.github.io/posts/muon/">Muon: An optimizer for hidden layers in neural networks</a>
 */
public record Muon(double momentum, boolean nesterov, int nsSteps, Length length, ScalarType iterated)
        implements UpdateRule {
    private static final String BUFFER = "momentum_buffer";
    private static final double EPS = 1e-7;
    private static final double A = 3.4445;
    private static final double B = -4.7750;
    private static final double C = 2.0315;

    /** What a matrix's rate is multiplied with. */
    public enum Length {
        /** The root of rows over columns, 1 at least. */
        ORIGINAL {
            @Override
            double of(long rows, long columns) {
                return Math.sqrt(Math.max(1, (double) rows / columns));
            }
        },
        /** 0.2 times the root of the larger of both: changes are as large as AdamW's, and so rates and decays may be. */
        MATCH_RMS_ADAMW {
            @Override
            double of(long rows, long columns) {
                return 0.2 * Math.sqrt(Math.max(rows, columns));
            }
        };

        abstract double of(long rows, long columns);
    }

    @Override
    public String name() {
        return "muon";
    }

    private static boolean isMatrix(Parameter parameter) {
        return parameter.value().dim() == 2;
    }

    @Override
    public Map<String, long[]> keeps(Parameter parameter) {
        return isMatrix(parameter) ? Map.of(BUFFER, parameter.shape()) : AdamW.Rule.moments(parameter);
    }

    @Override
    public void change(List<Update> updates) {
        UpdateRule.each(
                updates.stream().filter(update -> isMatrix(update.parameter())).toList(), this::change);
        List<Update> others =
                updates.stream().filter(update -> !isMatrix(update.parameter())).toList();
        if (!others.isEmpty()) {
            AdamW.Rule.DEFAULTS.change(others);
        }
    }

    private void change(Update update) {
        Tensor value = update.value();
        Tensor buffer = update.kept(BUFFER);
        buffer.lerp_(update.gradient(), new Scalar(1 - momentum));
        Tensor towards = nesterov ? update.gradient().lerp(buffer, new Scalar(momentum)) : buffer;
        Tensor change = orthogonal(towards);
        if (update.decay() != 0) {
            value.mul_(new Scalar(1 - update.rate() * update.decay()));
        }
        value.add_(change, new Scalar(-update.rate() * length.of(value.size(0), value.size(1))));
    }

    /** About U Vᵀ of the matrix's singular vectors: singular values come near to 1. */
    private Tensor orthogonal(Tensor matrix) {
        boolean tall = matrix.size(0) > matrix.size(1);
        Tensor x = Device.of(matrix).move(matrix, iterated);
        x = tall ? x.t() : x;
        x = x.div(x.norm().clamp_min_(new Scalar(EPS)));
        for (int i = 0; i < nsSteps; i++) {
            Tensor gram = x.matmul(x.t());
            Tensor polynomial = torch.addmm(gram, gram, gram, new Scalar(B), new Scalar(C));
            x = torch.addmm(x, polynomial, x, new Scalar(A), new Scalar(1.0));
        }
        return tall ? x.t() : x;
    }
}
