package org.peft4j.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.peft4j.Fixtures;
import org.peft4j.io.Json;

/** What transformers' logits processors leave of a distribution: build-scripts/fixtures/generation.py. */
class FiltersTest {
    private static double[] numbers(Object list) {
        return ((List<?>) list)
                .stream().mapToDouble(value -> ((Number) value).doubleValue()).toArray();
    }

    private static int[] ints(Object list) {
        return ((List<?>) list)
                .stream().mapToInt(value -> ((Number) value).intValue()).toArray();
    }

    private static Sampling sampling(Map<?, ?> settings) {
        Map<String, Double> of = new HashMap<>();
        settings.forEach((key, value) -> of.put((String) key, ((Number) value).doubleValue()));
        return new Sampling(
                of.getOrDefault("temperature", 1.0),
                of.getOrDefault("top_k", 0.0).intValue(),
                of.getOrDefault("top_p", 1.0),
                of.getOrDefault("min_p", 0.0),
                new Penalties(
                        of.getOrDefault("repetition_penalty", 1.0),
                        of.getOrDefault("frequency_penalty", 0.0),
                        of.getOrDefault("presence_penalty", 0.0)),
                0);
    }

    @Test
    void theDistributionBehindAllFiltersIsTransformers() throws Exception {
        Map<String, Object> fixture = Json.readObject(Fixtures.ROOT.resolve("generation/filters.json"));
        List<?> rows = (List<?>) fixture.get("rows");
        Map<Object, float[]> logitsOf = new HashMap<>();
        for (Object one : rows) {
            Map<?, ?> row = (Map<?, ?>) one;
            if (row.containsKey("logits")) {
                double[] values = numbers(row.get("logits"));
                float[] floats = new float[values.length];
                for (int i = 0; i < floats.length; i++) {
                    floats[i] = (float) values[i];
                }
                logitsOf.put(row.get("seed"), floats);
            }
            Sampling sampling = sampling((Map<?, ?>) row.get("settings"));
            float[] scores = logitsOf.get(row.get("seed")).clone();

            sampling.penalties().apply(scores, ints(fixture.get("prompt")), ints(fixture.get("new")));
            Sampler.Choice choice = Sampler.Choice.of(scores, sampling);

            double[] ours = new double[scores.length];
            for (int i = 0; i < choice.n(); i++) {
                ours[choice.tokens()[i]] = choice.weights()[i] / choice.sum();
            }
            assertThat(ours)
                    .as(row.get("settings").toString())
                    .containsExactly(numbers(row.get("probabilities")), offset(1e-6));
        }
        assertThat(rows).hasSizeGreaterThan(40);
    }
}
