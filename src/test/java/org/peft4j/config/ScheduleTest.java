package org.peft4j.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Locale;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class ScheduleTest {
    private static JsonNode cases() throws IOException {
        try (InputStream in = ScheduleTest.class.getResourceAsStream("/optim/schedules.json")) {
            return new ObjectMapper().readTree(in).path("cases");
        }
    }

    @TestFactory
    Stream<DynamicTest> hasTheFactorsOfTransformers() throws IOException {
        JsonNode cases = cases();
        assertThat(cases.size()).isEqualTo(81);
        return cases.valueStream()
                .map(test -> DynamicTest.dynamicTest(
                        test.path("schedule") + " of " + test.path("total"), () -> compare(test)));
    }

    @Test
    void everyScheduleIsCompared() throws IOException {
        Set<Schedule> compared = new HashSet<>();
        cases().forEach(test -> compared.add(schedule(test.path("schedule")).type()));

        assertThat(compared).containsExactlyInAnyOrder(Schedule.values());
    }

    private static void compare(JsonNode test) {
        ScheduleConfig schedule = schedule(test.path("schedule"));
        JsonNode factors = test.path("factors");
        for (int step = 0; step < factors.size(); step++) {
            assertThat(schedule.factor(step, test.path("total").asLong()))
                    .as("step %d", step)
                    .isCloseTo(factors.path(step).asDouble(), within(1e-12));
        }
    }

    private static ScheduleConfig schedule(JsonNode settings) {
        String type = settings.path("type").asText().toUpperCase(Locale.ROOT).replace('-', '_');
        ScheduleConfig.Builder builder = ScheduleConfig.builder(Schedule.valueOf(type));
        settings.properties().forEach(setting -> {
            JsonNode value = setting.getValue();
            switch (setting.getKey()) {
                case "type" -> {}
                case "warmup_steps" -> builder.warmupSteps(value.asLong());
                case "warmup_ratio" -> builder.warmupRatio(value.asDouble());
                case "min_rate" -> builder.minRate(value.asDouble());
                case "power" -> builder.power(value.asDouble());
                case "timescale" -> builder.timescale(value.asLong());
                case "decay_steps" -> builder.decaySteps(value.asLong());
                case "decay" ->
                    builder.decay(Arrays.stream(ScheduleConfig.Decay.values())
                            .filter(decay -> decay.fileName().equals(value.asText()))
                            .findFirst()
                            .orElseThrow());
                default -> throw new AssertionError(setting.getKey());
            }
        });
        return builder.build();
    }

    @Test
    void warmupOfAsManyStepsAsTheRunEndsAtTheEnd() {
        // transformers divides by zero there
        ScheduleConfig schedule = ScheduleConfig.builder(Schedule.POLYNOMIAL)
                .warmupSteps(4)
                .minRate(0.5)
                .build();

        assertThat(schedule.factor(3, 4)).isEqualTo(0.75);
        assertThat(schedule.factor(4, 4)).isEqualTo(0.5);
    }

    @Test
    void settingOfAnotherScheduleIsRefused() {
        assertThatThrownBy(
                        () -> ScheduleConfig.builder(Schedule.LINEAR).power(2).build())
                .hasMessage("power means nothing for the schedule linear, got 2.0; leave it out");
        assertThatThrownBy(() -> ScheduleConfig.builder(Schedule.INVERSE_SQRT)
                        .minRate(0.1)
                        .build())
                .hasMessageStartingWith("minRate means nothing for the schedule inverse-sqrt");
        assertThatThrownBy(() ->
                        ScheduleConfig.builder(Schedule.WARMUP_STABLE_DECAY).build())
                .hasMessageStartingWith("decaySteps must say");
        assertThatThrownBy(() -> ScheduleConfig.defaults().withWarmupRatio(1.5))
                .hasMessage("warmupRatio must be in [0, 1], got 1.5");
        assertThatThrownBy(() -> ScheduleConfig.defaults().withWarmupSteps(3).withWarmupRatio(0.1))
                .hasMessageStartingWith("warmupRatio has no meaning beside warmupSteps, got 0.1 and 3");
    }
}
