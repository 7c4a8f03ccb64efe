package org.peft4j.data.template;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.data.template.ChatTemplate.Inputs;
import org.peft4j.data.template.ChatTemplate.Rendered;
import org.peft4j.data.template.ChatTemplate.Span;
import org.peft4j.error.ConfigException;

/** Templates render every conversation as transformers does ({@code build-scripts/fixtures/chat_templates.py}). */
@SuppressWarnings("unchecked")
class RenderedTest {
    private static final Map<String, @Nullable Object> FIXTURE;

    static {
        try {
            FIXTURE = Fixture.read("rendered.json");
        } catch (IOException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    static Stream<String> templates() {
        return ((Map<String, Object>) FIXTURE.get("templates")).keySet().stream();
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("templates")
    void rendersAsTransformers(String name) throws IOException {
        ChatTemplate template = Fixture.template(name);
        boolean digest = ((List<String>) FIXTURE.get("digests")).contains(name);
        List<Object> results = ((Map<String, List<Object>>) FIXTURE.get("templates")).get(name);
        List<Map<String, Object>> conversations = (List<Map<String, Object>>) FIXTURE.get("conversations");
        for (int i = 0; i < results.size(); i++) {
            Map<String, Object> conversation = conversations.get(i / 2);
            Inputs inputs = Fixture.inputs(FIXTURE, conversation).withGenerationPrompt(i % 2 == 1);
            String what = name + ", " + conversation.get("name") + (i % 2 == 1 ? ", with prompt" : "");
            if (results.get(i) instanceof Map<?, ?> failure) {
                assertThatThrownBy(() -> template.render(inputs))
                        .as(what)
                        .isInstanceOf(ConfigException.class)
                        .hasMessageStartingWith(name + ", line ")
                        .hasMessageContaining(
                                failure.containsKey("refused")
                                        ? "the template refuses these messages: " + failure.get("refused")
                                        : "the template cannot render this: ");
            } else {
                check(what, template, template.render(inputs), results.get(i), digest);
            }
        }
    }

    private static void check(String what, ChatTemplate template, Rendered rendered, Object expected, boolean digest) {
        List<Object> pair = expected instanceof List<?> list ? (List<Object>) list : List.of(expected, List.of());
        assertThat(template.marksGeneration()).isEqualTo(expected instanceof List<?>);
        assertThat(digest ? digest(rendered.text()) : rendered.text()).as(what).isEqualTo(pair.get(0));
        List<Span> spans = ((List<List<Integer>>) pair.get(1))
                .stream()
                        .map(span ->
                                new Span(offset(rendered.text(), span.get(0)), offset(rendered.text(), span.get(1))))
                        .toList();
        assertThat(rendered.assistant()).as(what).isEqualTo(spans);
    }

    private static int offset(String text, int codePoints) {
        return text.offsetByCodePoints(0, codePoints);
    }

    private static String digest(String text) {
        try {
            byte[] sha = MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
            return HexFormat.of().formatHex(sha).substring(0, 32);
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);
        }
    }
}
