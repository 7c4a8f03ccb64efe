package org.peft4j.method.spi.lora;

import java.util.Arrays;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.spi.TruncatedSvd;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;

/**
 * Principal components of rows that come in batches (Ross et al. 2008, as in scikit-learn and Hugging Face PEFT): each batch is
 * decomposed together with the components of all before it. On the CPU, float32; keeps k rows and a mean, whatever it has seen.
 */
final class IncrementalPca implements AutoCloseable {
    private final int k;
    private final long seed;
    private final String path;
    private @Nullable Tensor components; // [k, in]
    private @Nullable Tensor singular; // [k]
    private @Nullable Tensor mean; // [in], float64
    private @Nullable Tensor pending; // rows before there are k of them
    private double variation; // summed squares around the mean, of all columns
    private long seen;
    private boolean[] found;

    /** @param k components that are kept */
    IncrementalPca(int k, long seed, String path) {
        this.k = k;
        this.seed = seed;
        this.path = path;
        found = new boolean[k];
    }

    /** How many components there are. */
    int k() {
        return k;
    }

    /** Rows so far. */
    long seen() {
        return seen + (pending == null ? 0 : pending.size(0));
    }

    /** Whether there were enough rows for components. */
    boolean ready() {
        return components != null;
    }

    /** Whether the first n components did not turn in the last batch. */
    boolean found(int n) {
        for (int i = 0; i < n; i++) {
            if (!found[i]) {
                return false;
            }
        }
        return true;
    }

    /**
     * Adds rows.
     *
     * @param rows [n, in], float32, on the CPU
     * @param tau cosine from which a component counts as the one before
     */
    void add(Tensor rows, double tau) {
        if (rows.size(0) == 0) {
            return;
        }
        try (PointerScope scope = new PointerScope()) {
            Tensor x = pending == null ? rows : torch.cat(new TensorVector(pending, rows), 0);
            close(pending);
            pending = null;
            if (components == null && x.size(0) < k) {
                pending = Scopes.owned(() -> x.clone());
                return;
            }
            fit(x, tau);
        }
    }

    private void fit(Tensor x, double tau) {
        long n = x.size(0);
        Tensor wide = x.to(ScalarType.Double);
        Tensor own = wide.mean(0);
        Tensor centred = wide.sub(own);
        double more = centred.square().sum().item_double();
        Tensor stacked = centred.to(ScalarType.Float);
        Tensor middle = own;
        Tensor before = components;
        if (before != null && singular != null && mean != null) {
            Tensor apart = mean.sub(own);
            double weight = (double) seen / (seen + n) * n;
            variation += weight * apart.square().sum().item_double();
            Tensor correction = apart.mul(new Scalar(Math.sqrt(weight)))
                    .to(ScalarType.Float)
                    .unsqueeze(0);
            stacked = torch.cat(new TensorVector(before.mul(singular.unsqueeze(1)), stacked, correction), 0);
            middle = mean.add(apart.mul(new Scalar((double) -n / (seen + n))));
        }
        variation += more;
        seen += n;
        TruncatedSvd svd = TruncatedSvd.largest(stacked, k, seed, path);
        Tensor now = svd.vt();
        if (before != null) {
            float[] cosines = Tensors.toFloats(
                    now.mul(before).sum(new long[] {1}, false, new org.bytedeco.pytorch.ScalarTypeOptional()));
            for (int i = 0; i < k; i++) {
                found[i] = cosines[i] >= tau;
            }
        }
        replace(now, svd.s(), middle);
    }

    private void replace(Tensor nowComponents, Tensor nowSingular, Tensor nowMean) {
        Tensor[] old = {components, singular, mean};
        components = Scopes.owned(() -> nowComponents.clone());
        singular = Scopes.owned(() -> nowSingular.clone());
        mean = Scopes.owned(() -> nowMean.clone());
        Arrays.stream(old).forEach(IncrementalPca::close);
    }

    /** Which part of all variation each component explains, from large to small. */
    double[] explained() {
        float[] values = Tensors.toFloats(ready(singular));
        double[] parts = new double[k];
        for (int i = 0; i < k; i++) {
            parts[i] = (double) values[i] * values[i] / variation;
        }
        return parts;
    }

    /**
     * The first n components, [n, in].
     *
     * @param whiten divides each by the root of its singular value
     */
    Tensor first(int n, boolean whiten) {
        Tensor rows = ready(components).narrow(0, 0, n);
        return whiten ? rows.div(ready(singular).narrow(0, 0, n).sqrt().unsqueeze(1)) : rows.clone();
    }

    private static Tensor ready(@Nullable Tensor tensor) {
        if (tensor == null) {
            throw new IllegalStateException("there were fewer rows than components");
        }
        return tensor;
    }

    private static void close(@Nullable Tensor tensor) {
        if (tensor != null) {
            tensor.close();
        }
    }

    @Override
    public void close() {
        close(components);
        close(singular);
        close(mean);
        close(pending);
    }
}
