package org.peft4j.nn.compose;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.BiasDelta;
import org.peft4j.nn.seam.EmbeddingUpdate;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.WeightDelta;

/** Claims that add something, with a factor. */
final class Weighted {
    private Weighted() {}

    record Factors(LowRank of, double weight) implements LowRank {
        @Override
        public Tensor a() {
            return of.a();
        }

        @Override
        public Tensor b() {
            return of.b();
        }

        @Override
        public double scale() {
            return weight * of.scale();
        }

        @Override
        public double dropout() {
            return of.dropout();
        }
    }

    record Matrix(WeightDelta of, double weight) implements WeightDelta {
        @Override
        public Tensor matrix() {
            return of.matrix().mul(new Scalar(weight));
        }

        @Override
        public double dropout() {
            return of.dropout();
        }

        @Override
        public Tensor product(Tensor x) {
            return of.product(x).mul(new Scalar(weight));
        }
    }

    record Bias(BiasDelta of, double weight) implements BiasDelta {
        @Override
        public Tensor vector() {
            return of.vector().mul(new Scalar(weight));
        }
    }

    record Rows(EmbeddingUpdate of, double weight) implements EmbeddingUpdate {
        @Override
        public Tensor of(Tensor indexes) {
            return of.of(indexes).mul(new Scalar(weight));
        }
    }
}
