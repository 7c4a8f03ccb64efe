package org.peft4j.method.spi;

import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.PrefixKeyValues;
import org.peft4j.ops.Ops;

/** The table [P, 2 · layers · heads · head size] behind all layers' prefixes, and each layer's share of it. */
public final class PrefixTable {
    private final Supplier<Tensor> maker;

    private PrefixTable(Supplier<Tensor> maker) {
        this.maker = maker;
    }

    /** Trained itself. */
    public static PrefixTable of(Parameter values) {
        return new PrefixTable(values::value);
    }

    /** {@code tanh(E W₀ᵀ + b₀) W₂ᵀ + b₂}, as PEFT's PrefixEncoder. */
    public static PrefixTable projected(
            Parameter embedding, Parameter downWeight, Parameter downBias, Parameter upWeight, Parameter upBias) {
        return new PrefixTable(() -> {
            Tensor inner = Ops.linear(embedding.value(), downWeight.value(), downBias.value())
                    .tanh();
            return Ops.linear(inner, upWeight.value(), upBias.value());
        });
    }

    /** [P, 2 · layers · heads · head size], made anew. */
    public Tensor values() {
        return maker.get();
    }

    /** One layer's share. */
    public Share at(KeyValuePoint point, int layers, int tokens) {
        return new Share(this, point, layers, tokens);
    }

    /** A layer's keys and values. */
    public record Share(PrefixTable source, KeyValuePoint point, int layers, int count) implements PrefixKeyValues {
        @Override
        public KeyValues keyValues(ForwardContext context) {
            Tensor table = context.once(source, () -> source.values().alias());
            Tensor byLayer = table.view(table.size(0), 2L * layers, point.heads(), point.headSize());
            return new KeyValues(byLayer.select(1, 2L * point.layer()), byLayer.select(1, 2L * point.layer() + 1));
        }
    }
}
