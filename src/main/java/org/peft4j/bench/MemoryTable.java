package org.peft4j.bench;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.config.Dtype;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Points;
import org.peft4j.ops.Ops;

/**
 * What a block of BERT with LoRA keeps for backward, in bytes a token: the table that explains the peak of a step. Frozen weights get no
 * gradient, so inputs of layers without adapters are not kept.
 */
final class MemoryTable {
    private MemoryTable() {}

    /** Whether the table is true of a run: other models and methods keep other things. */
    static boolean describes(Points points, MethodConfig method) {
        return points.architecture().startsWith("Bert") && method instanceof LoraConfig;
    }

    static List<Map<String, Object>> rows(Points points, Adapter adapter, Dtype dtype) {
        boolean widened = points.device().isCpu() && !Ops.hasNativeBfloat16();
        long element = widened ? Float.BYTES : dtype.weightBytes();
        long hidden = points.hiddenSize();
        long inner = points.linears().stream()
                .filter(point -> point.path().contains(".layer.0."))
                .mapToLong(LinearPoint::out)
                .max()
                .orElse(0);
        long rank = points.linears().stream()
                .filter(point -> point.path().contains(".layer.0."))
                .flatMap(point -> adapter.at(point).stream())
                .filter(LowRank.class::isInstance)
                .mapToLong(claim -> rank((LowRank) claim))
                .sum();
        List<Map<String, Object>> rows = new ArrayList<>();
        add(rows, "block input x", "A's gradient; also the residual", hidden * element);
        add(rows, "query, key, value", "attention's backward", 3 * hidden * element);
        add(rows, "attention output o", "attention's backward (delta)", hidden * element);
        add(rows, "log-sum-exp", "probabilities again from scores, float32", points.queryHeads() * Float.BYTES);
        add(rows, "h = dropout(x) Aᵀ", "B's gradient, float32", rank * Float.BYTES);
        add(rows, "norm inputs z, twice", "norms' backward", 2 * hidden * element);
        add(rows, "norm statistics, twice", "mean and 1/σ, float32", 4 * Float.BYTES);
        add(rows, "MLP before GELU", "GELU's backward", inner * element);
        long sum = rows.stream()
                .mapToLong(row -> (Long) row.get("bytes_per_token"))
                .sum();
        add(rows, "a block", "the last one keeps all but keys, values and x for one row a text", sum);
        return rows;
    }

    private static long rank(LowRank claim) {
        try (var scope = new org.bytedeco.javacpp.PointerScope()) {
            return claim.a().size(0);
        }
    }

    private static void add(List<Map<String, Object>> rows, String what, String why, long bytes) {
        Map<String, Object> row = new LinkedHashMap<>();
        row.put("what", what);
        row.put("why", why);
        row.put("bytes_per_token", bytes);
        rows.add(row);
    }
}
