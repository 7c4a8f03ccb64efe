package org.peft4j.method.spi.adalora;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Parameter;

/**
 * The triplets of a layer: {@code y += scale B (E ∘ A) dropout(x)}.
 *
 * @param e [r, 1]
 * @param a [r, in]
 * @param b [out, r]
 */
record Triplets(Parameter e, Parameter a, Parameter b) {
    List<Parameter> all() {
        return List.of(e, a, b);
    }

    int rank() {
        return Math.toIntExact(e.elements());
    }

    LowRank update(double scale, double dropout) {
        Parameter values = e;
        Parameter rows = a;
        Parameter columns = b;
        return new LowRank() {
            @Override
            public Tensor a() {
                return rows.value().mul(values.value());
            }

            @Override
            public Tensor b() {
                return columns.value();
            }

            @Override
            public double scale() {
                return scale;
            }

            @Override
            public double dropout() {
                return dropout;
            }
        };
    }
}
