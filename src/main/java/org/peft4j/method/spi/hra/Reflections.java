package org.peft4j.method.spi.hra;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.InputUpdate;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;

/**
 * The product of reflections {@code I - 2 u uᵀ} as {@code I - U V}, with U [in, r] and V [r, in]: r vectors are two products with
 * rows, however many they are.
 *
 * @param u the vectors as columns [in, r], of any length
 * @param orthogonal whether they are made orthogonal first
 */
record Reflections(Parameter u, boolean orthogonal) implements InputUpdate {

    /** U and V. */
    private Tensor[] factors() {
        if (orthogonal) {
            Tensor columns = orthogonal(u.value());
            return new Tensor[] {columns, columns.t().mul(new Scalar(2.0))};
        }
        Tensor columns = normal(u.value());
        // H_r … H₁ = I - U L⁻¹ Uᵀ, where L is the lower triangle of UᵀU with halves on the diagonal.
        Tensor lower = columns.t()
                .matmul(columns)
                .tril(-1)
                .add(torch.eye(columns.size(1), Device.of(columns).options(columns.scalar_type()))
                        .mul(new Scalar(0.5)));
        return new Tensor[] {columns, torch.linalg_solve_triangular(lower, columns.t(), false)};
    }

    private static Tensor normal(Tensor columns) {
        return columns.div(columns.norm(new ScalarOptional(new Scalar(2.0)), new long[] {0}, true));
    }

    /** Gram and Schmidt: of each column what the ones before it leave. */
    private static Tensor orthogonal(Tensor columns) {
        TensorVector found = new TensorVector();
        Tensor left = columns;
        while (true) {
            Tensor next = normal(left.narrow(1, 0, 1));
            found.push_back(next);
            long more = left.size(1) - 1;
            if (more == 0) {
                return torch.cat(found, 1);
            }
            left = left.narrow(1, 1, more);
            left = left.sub(next.matmul(next.t().matmul(left)));
        }
    }

    @Override
    public Tensor of(Tensor x) {
        Tensor[] factors = factors();
        Tensor into = factors[0].to(x.scalar_type());
        Tensor out = factors[1].to(x.scalar_type());
        return x.sub(x.matmul(into).matmul(out));
    }

    /** {@code W (I - V U) x = W x - (W Vᵀ) (Uᵀ x)}; not of half precision, of which backward would keep a float32 copy. */
    @Override
    public @Nullable LowRank update(Tensor w) {
        boolean plain = w.scalar_type().intern() == ScalarType.Float;
        return plain && Device.of(u.value()).isCpu() ? new Turned(this, w) : null;
    }

    private record Turned(Reflections reflections, Tensor w) implements LowRank {
        @Override
        public Tensor[] pair() {
            Tensor[] factors = reflections.factors();
            return new Tensor[] {factors[0].t(), w.matmul(factors[1].t())};
        }

        @Override
        public Tensor a() {
            return pair()[0];
        }

        @Override
        public Tensor b() {
            return pair()[1];
        }

        @Override
        public double scale() {
            return -1;
        }

        @Override
        public double dropout() {
            return 0;
        }
    }

    @Override
    public Tensor merged(Tensor w) {
        Tensor[] factors = factors();
        return w.sub(w.matmul(factors[1].t()).matmul(factors[0].t()));
    }
}
