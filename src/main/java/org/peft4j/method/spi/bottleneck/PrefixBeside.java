package org.peft4j.method.spi.bottleneck;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.method.bottleneck.BottleneckPrefix;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.PrefixTable;
import org.peft4j.method.spi.SequenceGate;
import org.peft4j.nn.Init;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.PrefixKeyValues;
import org.peft4j.nn.seam.SequenceKeyValues;
import org.peft4j.nn.seam.SequenceRows;

/** The prefix of mix-and-match adapters and of UniPELT; its file has the layers that make it, so that it goes on being made by them. */
final class PrefixBeside {
    private static final String GROUP = "prompt";
    private static final String PATH = AdaptedLayers.SHARED + "prompt_encoder.";

    private PrefixBeside() {}

    /** A layer's share of the prefix, of each sequence times its gates: one, or the first for keys and the second for values. */
    private record Gated(PrefixTable.Share share, SequenceGate gate) implements SequenceKeyValues {
        @Override
        public PrefixKeyValues.KeyValues keyValues(Tensor x, SequenceRows rows, ForwardContext context) {
            PrefixKeyValues.KeyValues own = share.keyValues(context);
            Tensor gates = gate.of(x, rows, context);
            return new PrefixKeyValues.KeyValues(
                    times(own.keys(), gates, 0), times(own.values(), gates, gates.size(1) - 1));
        }

        /** [P, heads, D] → [sequences, P, heads, D]. */
        private static Tensor times(Tensor all, Tensor gates, long column) {
            return all.unsqueeze(0)
                    .mul(gates.select(1, column).view(-1, 1, 1, 1))
                    .contiguous();
        }

        @Override
        public int count() {
            return share.count();
        }
    }

    private static long gates(BottleneckPrefix prefix) {
        return prefix.sharedGate() ? 1 : 2;
    }

    /**
     * Claims keys and values of all layers.
     *
     * @param gated whether they have gates, which read what attention reads
     */
    static void claim(Adapter.Builder builder, BottleneckPrefix prefix, boolean gated, Points points, long seed) {
        long hidden = points.hiddenSize();
        long inner = prefix.encoderHiddenSize();
        String table = PATH + "embedding.weight";
        Parameter embedding =
                Parameter.of(table, GROUP, () -> Init.normal(seed, table, 1, prefix.virtualTokens(), hidden));
        Parameter downWeight = weight("transform.0", inner, hidden, seed);
        Parameter downBias = bias("transform.0", inner, hidden, seed);
        Parameter upWeight = weight("transform.2", width(points), inner, seed);
        Parameter upBias = bias("transform.2", width(points), inner, seed);
        List.of(embedding, downWeight, downBias, upWeight, upBias).forEach(builder::parameter);
        PrefixTable made = PrefixTable.projected(embedding, downWeight, downBias, upWeight, upBias);
        for (KeyValuePoint point : points.keyValues()) {
            PrefixTable.Share share = made.at(point, points.layers(), prefix.virtualTokens());
            builder.claim(
                    point,
                    gated
                            ? new Gated(
                                    share,
                                    SequenceGate.fresh(
                                            builder, point.path() + ".prefix_gate", gates(prefix), hidden, seed))
                            : share);
        }
        builder.positions(prefix.virtualTokens());
    }

    private static Parameter weight(String layer, long out, long in, long seed) {
        String path = PATH + layer + ".weight";
        return Parameter.of(path, GROUP, () -> Init.kaiming(seed, path, out, in));
    }

    private static Parameter bias(String layer, long out, long in, long seed) {
        String path = PATH + layer + ".bias";
        return Parameter.of(path, GROUP, () -> Init.uniform(seed, path, 1 / Math.sqrt(in), out));
    }

    /** 2 · layers · heads · head size. */
    private static long width(Points points) {
        KeyValuePoint point = points.keyValues().get(0);
        return 2L * points.layers() * point.heads() * point.headSize();
    }

    static long elements(BottleneckPrefix prefix, boolean gated, Points points) {
        long inner = prefix.encoderHiddenSize();
        return prefix.virtualTokens() * points.hiddenSize()
                + inner * points.hiddenSize()
                + inner
                + width(points) * inner
                + width(points)
                + (gated ? points.keyValues().size() * SequenceGate.elements(gates(prefix), points.hiddenSize()) : 0);
    }
}
