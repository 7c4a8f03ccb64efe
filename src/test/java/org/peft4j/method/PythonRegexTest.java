package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.io.Json;

/** Expressions mean what they mean in Python; the cases are made by build-scripts/fixtures/python_regex.py. */
class PythonRegexTest {
    private static final Map<String, Object> FILE = read();

    private static Map<String, Object> read() {
        try {
            return Json.readObject(Path.of("src/test/resources/method/python-regex.json"));
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    record Case(String expression, List<?> whole, List<?> beginning) {}

    static Stream<Case> cases() {
        return ((List<?>) FILE.get("cases"))
                .stream()
                        .map(c -> (Map<?, ?>) c)
                        .map(c -> new Case(
                                (String) c.get("expression"), (List<?>) c.get("whole"), (List<?>) c.get("beginning")));
    }

    @ParameterizedTest
    @MethodSource("cases")
    void matchesWhatPythonMatches(Case row) {
        if (row.expression().equals("(a)?(?(1)b|c)")) {
            assertThatThrownBy(() -> ModulePattern.of(row.expression()))
                    .hasMessageContaining("conditions, (?(…)…), are not supported at 4");
            return;
        }
        if (row.whole() == null) {
            assertThatThrownBy(() -> ModulePattern.of(row.expression()))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageStartingWith("'" + row.expression() + "' is not a regular expression");
            return;
        }
        ModulePattern pattern = ModulePattern.of(row.expression());
        List<?> paths = (List<?>) FILE.get("paths");
        List<Integer> whole = new ArrayList<>();
        List<Integer> beginning = new ArrayList<>();
        for (int i = 0; i < paths.size(); i++) {
            if (pattern.matches((String) paths.get(i))) {
                whole.add(i);
            }
            if (pattern.begins((String) paths.get(i))) {
                beginning.add(i);
            }
        }
        assertThat(whole).isEqualTo(row.whole());
        assertThat(beginning).isEqualTo(row.beginning());
    }

    @ParameterizedTest
    @ValueSource(strings = {"(?x)a b", "\\N{DIGIT ONE}", "(?P<n>a)(?(n)b|c)"})
    void refusesWhatJavaHasNoFormFor(String expression) {
        assertThatThrownBy(() -> ModulePattern.of(expression))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("is not a regular expression as Python has them");
    }

    /** Whatever stands there, it is an expression or our exception says why not. */
    @Test
    void anyTextIsTakenOrRefused() {
        java.util.Random random = new java.util.Random(5);
        String letters = "ab1.*+?{},-()[]|\\^$PZhxu&<>=:#_i";
        for (int i = 0; i < 200_000; i++) {
            StringBuilder text = new StringBuilder();
            for (int n = random.nextInt(12); n >= 0; n--) {
                text.append(letters.charAt(random.nextInt(letters.length())));
            }
            try {
                ModulePattern.of(text.toString()).matches("ab1.ab");
            } catch (IllegalArgumentException e) {
                assertThat(e.getMessage()).contains("regular expression");
            }
        }
    }
}
