package org.peft4j.report;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ReportTextTest {
    @ParameterizedTest
    @CsvSource({
        "5e-4, 5e-4",
        "0.01, 0.01",
        "0.001, 0.001",
        "16.0, 16",
        "0, 0",
        "1e10, 1e10",
        "-2.5e-5, -2.5e-5",
        "2000, 2000"
    })
    void numbersHaveNoMoreDigitsThanTheyNeed(double value, String text) {
        assertThat(ReportText.shortest(value)).isEqualTo(text);
    }

    @ParameterizedTest
    @CsvSource({"5, 5 s", "59.6, 1 min 0 s", "219.6, 3 min 40 s", "7500, 2 h 5 min"})
    void durationsAreReadable(double seconds, String text) {
        assertThat(ReportText.duration(seconds)).isEqualTo(text);
    }
}
