package org.peft4j.data.template;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.template.ChatTemplate.Inputs;
import org.peft4j.io.Json;

/** What {@code build-scripts/fixtures/chat_templates.py} made, and the templates it took. */
final class Fixture {
    static final Path DIRECTORY = Path.of("src/test/resources/fixtures/chat-templates");

    /** What the snippets read. */
    static final Map<String, @Nullable Object> VARIABLES = variables();

    private Fixture() {}

    @SuppressWarnings("unchecked")
    private static Map<String, @Nullable Object> variables() {
        try {
            return (Map<String, @Nullable Object>) read("snippets.json").get("variables");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static Map<String, @Nullable Object> read(String name) throws IOException {
        return Json.readObject(DIRECTORY.resolve(name));
    }

    static String source(String name) throws IOException {
        return Files.readString(DIRECTORY.resolve(name + ".jinja"));
    }

    static ChatTemplate template(String name) throws IOException {
        return ChatTemplate.parse(source(name), name);
    }

    static Clock clock(String iso) {
        return Clock.fixed(LocalDateTime.parse(iso).toInstant(ZoneOffset.UTC), ZoneOffset.UTC);
    }

    /** One of the fixture's conversations with the fixture's tokens and time. */
    @SuppressWarnings("unchecked")
    static Inputs inputs(Map<String, @Nullable Object> fixture, Map<String, @Nullable Object> conversation) {
        Map<String, @Nullable Object> variables =
                (Map<String, @Nullable Object>) conversation.getOrDefault("variables", Map.of());
        return Inputs.of((List<Map<String, @Nullable Object>>) conversation.get("messages"))
                .withTools((List<?>) conversation.get("tools"))
                .withDocuments((List<?>) conversation.get("documents"))
                .withVariables(variables)
                .withSpecialTokens((Map<String, String>) fixture.get("special_tokens"))
                .withClock(clock((String) fixture.get("clock")));
    }

    static Map<String, String> message(String role, String content) {
        return Map.of("role", role, "content", content);
    }

    /** A conversation of a user and an assistant who take turns. */
    static Inputs turns(String... contents) {
        List<Map<String, String>> messages = new ArrayList<>();
        for (int i = 0; i < contents.length; i++) {
            messages.add(message(i % 2 == 0 ? "user" : "assistant", contents[i]));
        }
        return Inputs.of(messages).withSpecialTokens(Map.of("bos_token", "<s>", "eos_token", "</s>"));
    }
}
