package org.peft4j.method.spi.bottleneck;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.bottleneck.FusionConfig;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.SublayerPoint;
import org.peft4j.ops.Ops;

/**
 * The attention of one sublayer over what several bottlenecks add there, {@link FusionConfig} has the formula. It knows neither who adds
 * nor how many they are.
 *
 * <p>Keys and values of each are never made: {@code q · (W_k u_a + b_k) = (W_kᵀ q) · u_a + q · b_k}, and
 * {@code Σ p_a W_v u_a = W_v Σ p_a u_a}. So there are three products with matrices of the sublayer's width a row, however many there are.
 * {@code q · b_k} is the same for all and changes no share; it is there so that b_k is what it is in the library.
 *
 * @param path of its parameters, without the dot behind it
 * @param query W_q and b_q
 * @param key W_k and b_k
 * @param value W_v; null: the identity
 * @param dropout of the scores, while training
 */
record FusionLayer(
        String path,
        BottleneckLayer.Plain query,
        BottleneckLayer.Plain key,
        @Nullable Parameter value,
        double dropout) {
    /** The group of its parameters. */
    static final String GROUP = "fusion";

    private static final double STD = 0.02;
    private static final double BESIDE = 1e-6;
    private static final double REGULARIZATION = 0.01;

    static FusionLayer fresh(SublayerPoint point, FusionConfig config, long seed) {
        long d = point.width();
        String path = point.path() + ".adapter_fusion_layer";
        return new FusionLayer(
                path,
                layer(path + ".query", d, seed),
                layer(path + ".key", d, seed),
                config.value() ? Parameter.of(path + ".value.weight", GROUP, () -> nearIdentity(d)) : null,
                config.dropout());
    }

    private static BottleneckLayer.Plain layer(String path, long width, long seed) {
        String weight = path + ".weight";
        return new BottleneckLayer.Plain(
                Parameter.of(weight, GROUP, () -> Init.normal(seed, weight, STD, width, width)),
                Parameter.of(path + ".bias", GROUP, () -> Tensors.zeros(width)));
    }

    private static Tensor nearIdentity(long width) {
        return torch.full(new long[] {width, width}, new Scalar(BESIDE)).fill_diagonal_(new Scalar(1.0));
    }

    /** Number of its elements. */
    static long elements(SublayerPoint point, FusionConfig config) {
        long d = point.width();
        return (config.value() ? 3 : 2) * d * d + 2 * d;
    }

    List<Parameter> parameters() {
        List<Parameter> parameters = new ArrayList<>(query.parameters());
        parameters.addAll(key.parameters());
        if (value != null) {
            parameters.add(value);
        }
        return parameters;
    }

    /**
     * The shares of those that add.
     *
     * @param asking rows of the query, [T, C], float32
     * @param ups what each of them adds, [T, C], float32
     * @return [T, number of ups]; each row sums to 1
     */
    Tensor shares(Tensor asking, List<Tensor> ups, ForwardContext context) {
        Tensor q = query.of(asking);
        Tensor byUp = q.matmul(key.weight().value());
        Tensor same = q.matmul(key.bias().value().unsqueeze(1));
        TensorVector scores = new TensorVector();
        for (Tensor up : ups) {
            Tensor own = up.mul(byUp).sum(new long[] {1}, true, new ScalarTypeOptional());
            scores.push_back(own.add(same));
        }
        Tensor all = torch.cat(scores, 1);
        double p = context.training() ? dropout : 0;
        return torch.softmax(p == 0 ? all : Ops.dropout(all, p, context.seed(path)), 1);
    }

    /** What is added in place of what each of them adds, as {@link #shares} has it, [T, C], float32. */
    Tensor mixed(Tensor asking, List<Tensor> ups, ForwardContext context) {
        Tensor shares = shares(asking, ups, context);
        List<Tensor> parts = new ArrayList<>();
        for (int a = 0; a < ups.size(); a++) {
            parts.add(ups.get(a).mul(shares.narrow(1, a, 1)));
        }
        Tensor sum = parts.stream().reduce(Tensor::add).orElseThrow();
        return value == null ? sum : Ops.linear(sum, value.value(), null);
    }

    /** {@code 0.01 ‖I − W_v‖²}, a scalar; null where there is no W_v. */
    @Nullable
    Tensor penalty() {
        if (value == null) {
            return null;
        }
        Tensor w = value.value();
        Tensor difference = w.sub(torch.eye(w.size(0), w.options()));
        return difference.mul(difference).sum().mul(new Scalar(REGULARIZATION));
    }
}
