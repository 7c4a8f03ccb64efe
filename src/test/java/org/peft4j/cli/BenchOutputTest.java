package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class BenchOutputTest {
    @Test
    void rowsBecomeATableWithNumbersOnTheRight() {
        String table =
                BenchOutput.table(List.of(row("gelu", "own", 0.1234, 1), row("attention", "reference", 12345.678, 22)));

        assertThat(table).isEqualTo("""
                        operation  provider   milliseconds  calls
                        gelu       own               0.123      1
                        attention  reference      12,345.7     22
                        """);
    }

    private static Map<String, Object> row(String operation, String provider, double milliseconds, int calls) {
        Map<String, Object> row = new LinkedHashMap<>();
        row.put("operation", operation);
        row.put("provider", provider);
        row.put("milliseconds", milliseconds);
        row.put("calls", calls);
        return row;
    }
}
