package org.peft4j.method.spi.bottleneck;

import java.util.List;
import org.peft4j.method.bottleneck.BottleneckPrefix;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.PrefixTable;
import org.peft4j.nn.Init;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;

/** The prefix of mix-and-match adapters; its file has the layers that make it, so that it goes on being made by them. */
final class PrefixBeside {
    private static final String GROUP = "prompt";
    private static final String PATH = AdaptedLayers.SHARED + "prompt_encoder.";

    private PrefixBeside() {}

    /** Claims keys and values of all layers. */
    static void claim(Adapter.Builder builder, BottleneckPrefix prefix, Points points, long seed) {
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
            builder.claim(point, made.at(point, points.layers(), prefix.virtualTokens()));
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

    static long elements(BottleneckPrefix prefix, Points points) {
        long inner = prefix.encoderHiddenSize();
        return prefix.virtualTokens() * points.hiddenSize()
                + inner * points.hiddenSize()
                + inner
                + width(points) * inner
                + width(points);
    }
}
