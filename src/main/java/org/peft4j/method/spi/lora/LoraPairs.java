package org.peft4j.method.spi.lora;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LinearClaim;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.LowRankPair;
import org.peft4j.nn.seam.Parameter;

/** The pairs of A and B of an adapter. */
final class LoraPairs {
    private LoraPairs() {}

    /** See {@link org.peft4j.method.spi.Method#lowRankPairs}. */
    static List<LowRankPair> of(LoraConfig config, Adapter adapter) {
        refuse(config.dora(), "method.dora must be false, got true");
        refuse(config.loraBias(), "method.lora_bias must be false, got true");
        refuse(
                !config.targetParameters().isEmpty(),
                "method.target_parameters must be empty, got " + config.targetParameters());
        List<LowRankPair> pairs = new ArrayList<>();
        for (Map.Entry<LinearPoint, List<LinearClaim>> claimed :
                adapter.claims(LinearPoint.class).entrySet()) {
            Parameter a = adapter.parameters().get(LoraSite.pathOfA(claimed.getKey()));
            Parameter b = adapter.parameters().get(LoraSite.pathOfB(claimed.getKey()));
            for (LinearClaim claim : claimed.getValue()) {
                if (claim instanceof LowRank update
                        && a != null
                        && b != null
                        && update.a().equals(a.value())) {
                    pairs.add(new LowRankPair(a, b, update.scale()));
                }
            }
        }
        for (Parameter parameter : adapter.parameters().values()) {
            boolean paired = pairs.stream().anyMatch(pair -> pair.a() == parameter || pair.b() == parameter);
            refuse(
                    parameter.group().startsWith("lora_") && !paired,
                    "method.targets must be linear layers, got the tensor " + parameter.path());
        }
        return pairs;
    }

    private static void refuse(boolean wrong, String message) {
        if (wrong) {
            throw new IllegalArgumentException(message);
        }
    }
}
