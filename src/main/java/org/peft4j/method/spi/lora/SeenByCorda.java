package org.peft4j.method.spi.lora;

import java.util.List;
import java.util.Objects;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.T_TensorTensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.lora.CordaConfig;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.LinearClaim;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Points;

/**
 * CorDA: with C the mean of {@code XᵀX} over texts, each X divided by its largest element, {@code W C = U S Vᵀ}; s B A is the part of
 * W that r of these singular values make: {@code B = U √(S/s)}, {@code A = √(S/s) Vᵀ C⁻¹}.
 */
final class SeenByCorda extends SeenData {
    private static final double DAMP = 0.01;
    private static final double MOST_ERROR = 0.05;
    private static final int TRIES = 30;

    private final SeenInputs<Covariance> seen;
    private @Nullable Packing packing;

    /** The sum of XᵀX on the model's device, float32. */
    private static final class Covariance {
        private @Nullable Tensor sum;
        private long texts;

        void close() {
            if (sum != null) {
                sum.close();
            }
        }
    }

    SeenByCorda(LoraConfig config, List<LoraSite> sites, Points points, long seed) {
        super(config, sites, points, seed);
        seen = new SeenInputs<>(site -> new Covariance(), this::see);
    }

    @Override
    LinearClaim watch(LoraSite site) {
        return seen.watch(site);
    }

    @Override
    public long bytes() {
        return sites.stream()
                .mapToLong(site -> Float.BYTES * LoraSite.in(site.point()) * LoraSite.in(site.point()))
                .sum();
    }

    @Override
    void see(Packing rows, boolean[] told) {
        packing = rows;
        seen.before(rows.rows());
    }

    private void see(SeenInputs.Input<Covariance> input, Tensor x) {
        Packing rows = Objects.requireNonNull(packing, "rows come behind before");
        Covariance own = input.seen();
        for (int s = 0; s < rows.sequences(); s++) {
            if (rows.length(s) == 0) {
                continue;
            }
            try (PointerScope scope = new PointerScope()) {
                Tensor text = x.narrow(0, rows.begin(s), rows.length(s)).to(ScalarType.Float);
                Tensor divided = text.div(text.max().abs());
                Tensor product = divided.t().matmul(divided);
                if (own.sum == null) {
                    own.sum = Scopes.owned(product::clone);
                } else {
                    own.sum.add_(product);
                }
            }
            own.texts++;
        }
    }

    @Override
    LoraStart start(LoraSite site, Tensor w) {
        Covariance own = seen.of(site).seen();
        Tensor sum = Objects.requireNonNull(own.sum, "texts have rows");
        Tensor mean = Tensors.onCpu(sum, ScalarType.Float).to(ScalarType.Double).div(new Scalar((double) own.texts));
        Inverted c = inverted(site.point().path(), mean);
        T_TensorTensorTensor_T svd = torch.linalg_svd(
                w.to(ScalarType.Double).matmul(c.matrix), false, new org.bytedeco.pytorch.StringViewOptional());
        boolean largest = config.dataStart().corda().cordaMethod() == CordaConfig.Choice.IPM;
        long values = svd.get1().size(0);
        long from = largest ? 0 : values - site.rank();
        Tensor root = svd.get1()
                .narrow(0, from, site.rank())
                .div(new Scalar(site.scale()))
                .sqrt();
        Tensor a = svd.get2().narrow(0, from, site.rank()).matmul(c.inverse).mul(root.unsqueeze(1));
        Tensor b = svd.get0().narrow(1, from, site.rank()).mul(root.unsqueeze(0));
        return new LoraStart(a.to(ScalarType.Float), b.to(ScalarType.Float));
    }

    /** C with something added to its diagonal, and its inverse. */
    private record Inverted(Tensor matrix, Tensor inverse) {}

    private static Inverted inverted(String path, Tensor c) {
        double diagonal = c.diagonal().mean().item_double();
        if (!(diagonal > 0) || !c.isfinite().all().item_bool()) {
            throw new IllegalArgumentException("init corda needs what " + path
                    + " reads to be finite and to have an element above 0 in each text: its covariance is not finite");
        }
        Tensor one = torch.eye(c.size(0)).to(ScalarType.Double);
        double damp = DAMP;
        for (int i = 0; i < TRIES; i++, damp *= 2) {
            Tensor damped = c.add(one.mul(new Scalar(diagonal * damp)));
            Tensor inverse = torch.linalg_inv(damped);
            double error = damped.matmul(inverse).sub(one).square().sum().sqrt().item_double();
            if (error < MOST_ERROR) {
                return new Inverted(damped, inverse);
            }
        }
        throw new IllegalArgumentException("init corda cannot invert the covariance of what " + path
                + " reads; give more rows (calibration_rows)");
    }

    @Override
    List<String> notes(LoraConfig begun) {
        return List.of("init corda has looked at " + looked());
    }

    @Override
    public void close() {
        super.close();
        seen.inputs().forEach(input -> input.seen().close());
    }
}
