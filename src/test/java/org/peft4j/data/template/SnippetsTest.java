package org.peft4j.data.template;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.time.Clock;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.data.template.ChatTemplate.Inputs;
import org.peft4j.error.ConfigException;

/** Pieces of Jinja give what they give in jinja2 ({@code build-scripts/fixtures/chat_snippets.py}). */
@SuppressWarnings("unchecked")
class SnippetsTest {
    private static final Clock CLOCK = Fixture.clock("2024-07-06T09:05:03");

    static Stream<Arguments> snippets() throws IOException {
        return ((List<List<Object>>) Fixture.read("snippets.json").get("snippets"))
                .stream().map(pair -> Arguments.of(pair.get(0), pair.get(1)));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("snippets")
    void givesWhatJinja2Gives(String snippet, Object expected) {
        if (!(expected instanceof Map<?, ?> failure)) {
            assertThat(render(snippet)).isEqualTo(expected);
            return;
        }
        String told = failure.containsKey("refused")
                ? "refuses these messages: " + failure.get("refused")
                : failure.containsKey("syntax") ? "" : "cannot render this";
        assertThatThrownBy(() -> render(snippet))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(told)
                .hasMessageStartingWith("here, line ")
                .message()
                .doesNotContain("is not supported");
    }

    private static String render(String snippet) {
        return ChatTemplate.parse(snippet, "here")
                .outcome(Inputs.of(List.of()).withVariables(Fixture.VARIABLES).withClock(CLOCK))
                .text();
    }
}
