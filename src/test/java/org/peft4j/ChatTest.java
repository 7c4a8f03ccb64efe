package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.error.ConfigException;

/** Talks from Java, with a tiny model of random weights. */
class ChatTest {
    private static final TextGenerator.Options FEW =
            TextGenerator.Options.defaults().withMaxNewTokens(5);

    @TempDir
    static Path temporary;

    private static BaseModel base;
    private static LoadedAdapter.Options options;
    private static LoadedAdapter plain;
    private static LoadedAdapter lora;

    @BeforeAll
    static void open() throws IOException {
        Path template = Files.writeString(
                temporary.resolve("mine.jinja"),
                "{{ bos_token }}{% for m in messages %}{% if m.content == 'no' %}{{ raise_exception('Not this') }}"
                        + "{% endif %}[{{ m.role }}] {{ m.content }}{{ eos_token }}{% endfor %}"
                        + "{% if add_generation_prompt %}[assistant]{% endif %}");
        base = BaseModel.open(Fixtures.TINY_LLAMA);
        options = LoadedAdapter.Options.defaults().withTask("causal-lm").with("template", template.toString());
        plain = base.plain(options);
        lora = base.load("lora", Fixtures.TINY_LLAMA.resolve("lora"), options);
    }

    @AfterAll
    static void close() {
        base.close();
    }

    private static Map<String, String> message(String role, String content) {
        return Map.of("role", role, "content", content);
    }

    @Test
    void bothTurnsAreAddedAndTheNextAnswerDependsOnThem() {
        Chat chat = Chat.of(plain).withSystem("you");
        StringBuilder told = new StringBuilder();

        TextGenerator.Continuation first = chat.say("the list", FEW, told::append);
        TextGenerator.Continuation second = chat.say("mail", FEW, piece -> {});

        assertThat(told).hasToString(first.text());
        List<Map<String, String>> all = List.of(
                message("system", "you"),
                message("user", "the list"),
                message("assistant", first.text().strip()),
                message("user", "mail"),
                message("assistant", second.text().strip()));
        assertThat(chat.messages()).isEqualTo(all);
        TextGenerator generator = TextGenerator.of(plain);
        assertThat(generator.reply(all.subList(0, 4), FEW, (prompt, piece) -> {}))
                .isEqualTo(second);
        assertThat(generator
                        .generate(List.of("[system] you</s>[user] the list</s>[assistant]"), FEW)
                        .get(0))
                .as("the template has written the special tokens")
                .isEqualTo(first);

        assertThat(chat.undo()).isTrue();
        assertThat(chat.messages()).isEqualTo(all.subList(0, 3));
        assertThat(chat.say("mail", FEW, piece -> {})).isEqualTo(second);
        chat.reset();
        assertThat(chat.messages()).isEqualTo(all.subList(0, 1));
        assertThat(chat.undo()).isFalse();
    }

    @Test
    void anotherAdapterAnswersFromThenOn() {
        Chat chat = Chat.of(plain);
        chat.say("the list", FEW, piece -> {});
        List<Map<String, String>> before = chat.messages();

        chat.use(lora);
        TextGenerator.Continuation said = chat.say("mail", FEW, piece -> {});

        Chat alone = Chat.of(lora);
        assertThat(chat.adapter()).isSameAs(lora);
        List<Map<String, String>> asked = chat.messages().subList(0, 3);
        assertThat(asked.subList(0, 2)).isEqualTo(before);
        assertThat(TextGenerator.of(lora).reply(asked, FEW, (prompt, piece) -> {}))
                .isEqualTo(said);
        assertThat(TextGenerator.of(plain).reply(asked, FEW, (prompt, piece) -> {}))
                .isNotEqualTo(said);
        assertThat(alone.messages()).isEmpty();
    }

    @Test
    void whatFailsLeavesTheTalkAsItWas() throws IOException {
        Chat chat = Chat.of(base.load("short", Fixtures.TINY_LLAMA.resolve("lora"), options.withMaxLength(60)));
        chat.say("the list", FEW, piece -> {});
        List<Map<String, String>> before = chat.messages();

        assertThatThrownBy(() -> chat.say("no", FEW, piece -> {}))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("Not this");
        assertThatThrownBy(() -> chat.say("the list of mail ".repeat(30), FEW, piece -> {}))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("at most 60 tokens (max_length)");
        assertThatThrownBy(() -> chat.say("you", FEW, piece -> {
                    throw new IllegalStateException("nobody listens");
                }))
                .hasMessage("nobody listens");
        assertThat(chat.messages()).isEqualTo(before);
    }

    @Test
    void drawsDifferFromTurnToTurnAndRepeatWithTheTalk() {
        TextGenerator.Options drawn = FEW.withTemperature(3).withSeed(5);
        Chat chat = Chat.of(plain);
        TextGenerator.Continuation first = chat.say("you", drawn, piece -> {});
        chat.undo();
        assertThat(chat.say("you", drawn, piece -> {})).isEqualTo(first);
        Chat longer = Chat.of(plain);
        longer.say("", drawn, piece -> {});
        assertThat(longer.say("you", drawn, piece -> {}).ids()).isNotEqualTo(first.ids());
    }

    @Test
    void whatIsNoTalkIsRefused() throws IOException {
        LoadedAdapter without = base.plain(LoadedAdapter.Options.defaults().withTask("causal-lm"));
        assertThatThrownBy(() -> Chat.of(without))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("no chat template");
        Chat chat = Chat.of(plain);
        assertThatThrownBy(() -> chat.use(without)).hasMessageContaining("no chat template");
        assertThat(chat.adapter()).isSameAs(plain);
        TextGenerator generator = TextGenerator.of(plain);
        assertThatThrownBy(() -> generator.reply(
                        List.of(message("user", "a"), message("assistant", "b")), FEW, (prompt, piece) -> {}))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("the last message is the assistant's already");
        assertThatThrownBy(() -> generator.reply(List.of(Map.of("content", "a")), FEW, (prompt, piece) -> {}))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("message 1 must have a text as role");
        assertThatThrownBy(() -> chat.say("a", FEW.withTemperature(1).withN(2), piece -> {}))
                .hasMessageContaining("n is 2");
    }
}
