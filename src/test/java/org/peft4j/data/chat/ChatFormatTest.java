package org.peft4j.data.chat;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.Fixtures;
import org.peft4j.data.TextTokenizer;
import org.peft4j.io.ModelDirectory;

/** Where an answer ends, told from what templates write behind it; {@code <s>} is 1, {@code </s>} is 2. */
class ChatFormatTest {
    private static final String TEMPLATE =
            "{{ bos_token }}{%% for m in messages %%}{{ m.role }}: {{ m.content | trim }}"
                    + "{%% if m.role == 'assistant' %%}%s{%% else %%}|{%% endif %%}{%% endfor %%}";

    @TempDir
    Path temporary;

    private ChatFormat.EndOfTurn end(String template, Integer... endTokens) throws IOException {
        Path file = Files.writeString(temporary.resolve("mine.jinja"), template);
        ChatFormat format = ChatFormat.open(Fixtures.TINY_LLAMA, null, file.toString(), Map.of());
        Conversation asked = Conversation.of(List.of(Conversation.message("user", "the list")), null);
        try (TextTokenizer tokenizer = TextTokenizer.open(ModelDirectory.open(Fixtures.TINY_LLAMA), 16)) {
            return format.endOfTurn(asked, tokenizer, List.of(endTokens));
        }
    }

    @ParameterizedTest
    @CsvSource(
            ignoreLeadingAndTrailingWhitespace = false,
            value = {
                "{{ eos_token }},2",
                "' {{ eos_token }}',2",
                "<s>,1", // ends no text, but a turn
                "'{{ eos_token }}\\nuser: <s>',2",
                "END<s>,1"
            })
    void aSpecialTokenEndsATurn(String behind, int token) throws IOException {
        assertThat(end(TEMPLATE.formatted(behind), 2)).isEqualTo(new ChatFormat.EndOfTurn(List.of(token), List.of()));
    }

    @Test
    void plainTextEndsATurnWhereNothingElseDoes() throws IOException {
        assertThat(end(TEMPLATE.formatted("{{ '\\n' }}"), 2).texts()).containsExactly("\n");
        assertThat(end(TEMPLATE.formatted(" of mail\n"), 2))
                .isEqualTo(new ChatFormat.EndOfTurn(List.of(), List.of(" of mail\n")));
    }

    @Test
    void nothingEndsATurnBesideTheModelsOwn() throws IOException {
        int plain;
        try (TextTokenizer tokenizer = TextTokenizer.open(ModelDirectory.open(Fixtures.TINY_LLAMA), 16)) {
            int[] list = tokenizer.encodePlain("list").tokens();
            plain = list[list.length - 1];
        }
        assertThat(end(TEMPLATE.formatted(""), 2)).isEqualTo(ChatFormat.EndOfTurn.NONE);
        assertThat(end(TEMPLATE.formatted("  "), 2)).as("spaces").isEqualTo(ChatFormat.EndOfTurn.NONE);
        assertThat(end(TEMPLATE.formatted("list"), 2, plain))
                .as("a token that ends texts, and is not special")
                .isEqualTo(ChatFormat.EndOfTurn.NONE);
        assertThat(end("{{ messages[0].content }}", 2))
                .as("a template that leaves answers out")
                .isEqualTo(ChatFormat.EndOfTurn.NONE);
        assertThat(end("{% if messages | length > 1 %}{{ raise_exception('one') }}{% endif %}a", 2))
                .isEqualTo(ChatFormat.EndOfTurn.NONE);
    }
}
