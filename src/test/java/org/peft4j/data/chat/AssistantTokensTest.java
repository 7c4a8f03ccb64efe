package org.peft4j.data.chat;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.template.AssistantSpans;
import org.peft4j.data.template.AssistantSpans.Turns;
import org.peft4j.data.template.ChatTemplate;
import org.peft4j.data.template.ChatTemplate.Inputs;
import org.peft4j.data.template.ChatTemplate.Span;
import org.peft4j.data.tokenizer.NativeTokenizer.Placed;
import org.peft4j.io.Json;

/** Tokens of the assistant, as transformers tells them ({@code build-scripts/fixtures/assistant_masks.py}). */
@SuppressWarnings("unchecked")
class AssistantTokensTest {
    private static final Path FIXTURES = Path.of("src/test/resources/fixtures");

    @Test
    void masksAreTransformers() throws IOException {
        Map<String, @Nullable Object> fixture = Json.readObject(FIXTURES.resolve("chat-templates/masks.json"));
        Clock clock = Clock.fixed(
                LocalDateTime.parse((String) fixture.get("clock")).toInstant(ZoneOffset.UTC), ZoneOffset.UTC);
        Map<String, List<Map<String, Object>>> conversations =
                (Map<String, List<Map<String, Object>>>) fixture.get("conversations");
        Map<String, TextTokenizer> tokenizers = new HashMap<>();
        Map<String, ChatTemplate> templates = new HashMap<>();
        for (Map.Entry<String, String> file : ((Map<String, String>) fixture.get("tokenizers")).entrySet()) {
            tokenizers.put(file.getKey(), TextTokenizer.open(FIXTURES.resolve(file.getValue()), 1 << 20));
        }
        for (List<Object> mask : (List<List<Object>>) fixture.get("masks")) {
            String name = (String) mask.get(1);
            if (!templates.containsKey(name)) {
                Path file = FIXTURES.resolve("chat-templates/" + name + ".jinja");
                templates.put(name, ChatTemplate.parse(Files.readString(file), name));
            }
            Inputs inputs = Inputs.of(conversations.get((String) mask.get(2)))
                    .withSpecialTokens((Map<String, String>) fixture.get("special_tokens"))
                    .withClock(clock);
            AssistantSpans spans = AssistantSpans.of(templates.get(name), inputs, Turns.ALL);

            Placed placed = tokenizers
                    .get((String) mask.get(0))
                    .encodePlaced(List.of(spans.text()), i -> name)
                    .get(0);

            assertThat(placed.tokens())
                    .as("%s", mask.subList(0, 3))
                    .containsExactly(((List<Integer>) mask.get(3))
                            .stream().mapToInt(Integer::intValue).toArray());
            assertThat(shown(AssistantTokens.of(
                            spans.text(), placed, spans.spans().orElseThrow())))
                    .as("%s", mask.subList(0, 3))
                    .isEqualTo(mask.get(4));
        }
        tokenizers.values().forEach(TextTokenizer::close);
    }

    private static String shown(boolean[] mask) {
        StringBuilder shown = new StringBuilder();
        for (boolean one : mask) {
            shown.append(one ? '1' : '0');
        }
        return shown.toString();
    }

    /** {@code "a🙂b c"} with the blank dropped: what is at an edge is looked for inside of the span. */
    @Test
    void aDroppedCharacterAtAnEdgeLosesNoToken() {
        String text = "a🙂b c";
        Placed placed = new Placed(new int[] {1, 2, 3, 4}, new int[] {0, 1, 2, 4}, new int[] {1, 2, 3, 5});

        assertThat(shown(AssistantTokens.of(text, placed, List.of(new Span(1, 5)))))
                .isEqualTo("0110");
        assertThat(shown(AssistantTokens.of(text, placed, List.of(new Span(4, 6)))))
                .isEqualTo("0001");
        assertThat(shown(AssistantTokens.of(text, placed, List.of(new Span(4, 5)))))
                .isEqualTo("0000");
        assertThat(shown(AssistantTokens.of(text, placed, List.of(new Span(0, 1), new Span(5, 6)))))
                .isEqualTo("1001");
    }
}
