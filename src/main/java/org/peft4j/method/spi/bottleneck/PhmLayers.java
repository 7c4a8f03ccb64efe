package org.peft4j.method.spi.bottleneck;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.bottleneck.PhmConfig;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Ops;

/**
 * Makes layers {@code y = x H + b} with {@code H = Σ_i kron(R_i, W_i)} [in, out], and keeps what they share. Tensors are named as in
 * AdapterHub's library: {@code phm_rule} [n, n, n] or {@code phm_rule_left} [n, n, 1] and {@code phm_rule_right} [n, 1, n]; {@code W} [n,
 * in/n, out/n] or {@code W_left} [n, in/n, r] and {@code W_right} [n, r, out/n].
 */
final class PhmLayers {
    private final PhmConfig config;
    private final long seed;
    private final Map<String, Parameter> shared = new LinkedHashMap<>();

    PhmLayers(PhmConfig config, long seed) {
        this.config = config;
        this.seed = seed;
    }

    /**
     * A layer; what it shares is made with the first one that does.
     *
     * @param way down or up
     */
    BottleneckLayer layer(String path, long out, long in, String way) {
        List<Parameter> own = new ArrayList<>();
        String rulePath = config.rule().sharedRule() ? AdaptedLayers.SHARED : path + ".";
        Factors rule = config.rule().factorizedRule()
                ? new Factors(
                        rule(own, rulePath + "phm_rule_left", config.dim(), 1),
                        rule(own, rulePath + "phm_rule_right", 1, config.dim()))
                : new Factors(rule(own, rulePath + "phm_rule", config.dim(), config.dim()), null);
        String wPath = config.weights().sharedW() ? AdaptedLayers.SHARED + "W_" + way : path + ".W";
        long rows = in / config.dim();
        long columns = out / config.dim();
        Factors w = config.weights().factorizedW()
                ? new Factors(
                        matrices(own, wPath + "_left", rows, config.weights().rank()),
                        matrices(own, wPath + "_right", config.weights().rank(), columns))
                : new Factors(matrices(own, wPath, rows, columns), null);
        Parameter bias = null;
        if (config.bias()) {
            bias = Parameter.of(path + ".bias", BottleneckLayer.GROUP, () -> Tensors.zeros(out));
            own.add(bias);
        }
        return new Phm(rule, w, bias, own);
    }

    /** What layers share, in the order in which it was made. */
    List<Parameter> shared() {
        return List.copyOf(shared.values());
    }

    private Parameter rule(List<Parameter> own, String path, long rows, long columns) {
        return parameter(own, path, config.rule().sharedRule(), () -> switch (config.rule()
                .ruleInit()) {
            case NORMAL -> Init.normal(seed, path, config.rule().initRange(), config.dim(), rows, columns);
            case UNIFORM -> Init.uniform(seed, path, config.rule().initRange(), config.dim(), rows, columns);
        });
    }

    /** Xavier-normal, each matrix by itself. */
    private Parameter matrices(List<Parameter> own, String path, long rows, long columns) {
        double std = Math.sqrt(2.0 / (rows + columns));
        return parameter(
                own, path, config.weights().sharedW(), () -> Init.normal(seed, path, std, config.dim(), rows, columns));
    }

    private Parameter parameter(
            List<Parameter> own, String path, boolean common, java.util.function.Supplier<Tensor> values) {
        Parameter known = common ? shared.get(path) : null;
        if (known != null) {
            return known;
        }
        Parameter made = Parameter.of(path, BottleneckLayer.GROUP, values);
        if (common) {
            shared.put(path, made);
        } else {
            own.add(made);
        }
        return made;
    }

    /** Number of elements of one layer's rule. */
    static long ruleElements(PhmConfig config) {
        long n = config.dim();
        return config.rule().factorizedRule() ? 2 * n * n : n * n * n;
    }

    /** Number of elements of one layer's W. */
    static long wElements(PhmConfig config, long out, long in) {
        return config.weights().factorizedW() ? config.weights().rank() * (in + out) : in * out / config.dim();
    }

    /** A tensor [n, p, q], as it is or as a product [n, p, r] [n, r, q]. */
    private record Factors(Parameter left, @Nullable Parameter right) {
        Tensor product() {
            return right == null ? left.value() : left.value().bmm(right.value());
        }
    }

    private record Phm(Factors rule, Factors w, @Nullable Parameter bias, List<Parameter> parameters)
            implements BottleneckLayer {
        @Override
        public Tensor of(Tensor x) {
            return Ops.linear(x, weight(), bias == null ? null : bias.value());
        }

        /** Hᵀ, [out, in]: element (b q + j, a p + i) is Σ_k R_k[a, b] W_k[i, j]. */
        private Tensor weight() {
            Tensor r = rule.product();
            Tensor m = w.product();
            long n = r.size(0);
            long p = m.size(1);
            long q = m.size(2);
            Tensor sums = r.reshape(n, n * n).t().matmul(m.reshape(n, p * q));
            return sums.reshape(n, n, p, q).permute(1, 3, 0, 2).reshape(n * q, n * p);
        }
    }
}
