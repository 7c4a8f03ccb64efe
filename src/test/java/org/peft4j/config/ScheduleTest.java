package org.peft4j.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.util.Locale;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

class ScheduleTest {
    @TestFactory
    Stream<DynamicTest> hasTheFactorsOfTransformers() throws IOException {
        JsonNode cases;
        try (InputStream in = ScheduleTest.class.getResourceAsStream("/optim/schedules.json")) {
            cases = new ObjectMapper().readTree(in).path("cases");
        }
        assertThat(cases.size()).isEqualTo(18);
        return cases.valueStream()
                .map(test -> DynamicTest.dynamicTest(
                        test.path("schedule").asText() + " " + test.path("warmup") + " of " + test.path("total"),
                        () -> compare(test)));
    }

    private static void compare(JsonNode test) {
        Schedule schedule = Schedule.valueOf(test.path("schedule").asText().toUpperCase(Locale.ROOT));
        JsonNode factors = test.path("factors");
        for (int step = 0; step < factors.size(); step++) {
            assertThat(schedule.factor(
                            step,
                            test.path("warmup").asLong(),
                            test.path("total").asLong()))
                    .as("step %d", step)
                    .isCloseTo(factors.path(step).asDouble(), within(1e-12));
        }
    }
}
