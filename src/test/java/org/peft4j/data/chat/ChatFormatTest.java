package org.peft4j.data.chat;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
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

    /** Templates of known models, and the token that ends their turns; none where generation_config.json alone can say it. */
    @ParameterizedTest
    @CsvSource({
        "own/chatml, <|im_end|>",
        "own/mistral, </s>",
        "own/smollm, <|im_end|>",
        "own/zephyr, </s>",
        "trl/cohere2, <|END_OF_TURN_TOKEN|>",
        "trl/deepseekv3, <｜end▁of▁sentence｜>",
        "trl/gemma3, <end_of_turn>",
        "trl/glm4moe, none",
        "trl/gptoss, <|return|>",
        "trl/llama3_1, <|eot_id|>",
        "trl/phi3, <|end|>",
        "trl/qwen3, <|im_end|>",
        "trl/qwen2_5, <|im_end|>"
    })
    void turnsOfKnownModelsEndWhereTheyDo(String template, String end) throws IOException {
        JsonMapper json = new JsonMapper();
        JsonNode document =
                json.readTree(Fixtures.TINY_LLAMA.resolve("tokenizer.json").toFile());
        ArrayNode added = (ArrayNode) document.get("added_tokens");
        int first = document.get("model").get("vocab").size();
        List<String> names = List.of(
                "<|im_end|>",
                "<|im_start|>",
                "<|END_OF_TURN_TOKEN|>",
                "<｜end▁of▁sentence｜>",
                "<end_of_turn>",
                "<|return|>",
                "<|eot_id|>",
                "<|end|>",
                "<|user|>");
        for (String name : names) {
            ObjectNode token = added.get(2).deepCopy();
            added.add(token.put("id", first + names.indexOf(name)).put("content", name));
        }
        for (String file : List.of("config.json", "model.safetensors", "tokenizer_config.json")) {
            Files.copy(Fixtures.TINY_LLAMA.resolve(file), temporary.resolve(file));
        }
        json.writeValue(temporary.resolve("tokenizer.json").toFile(), document);
        ChatFormat format = ChatFormat.open(
                Fixtures.TINY_LLAMA,
                null,
                Fixtures.ROOT.resolve("chat-templates/" + template + ".jinja").toString(),
                Map.of());
        Conversation asked = Conversation.of(List.of(Conversation.message("user", "the list")), null);

        try (TextTokenizer tokenizer = TextTokenizer.open(ModelDirectory.open(temporary), 16)) {
            ChatFormat.EndOfTurn found = format.endOfTurn(asked, tokenizer, List.of());

            List<Integer> expected = switch (end) {
                case "none" -> List.of();
                case "</s>" -> List.of(2);
                default -> List.of(first + names.indexOf(end));
            };
            assertThat(found.tokens()).isEqualTo(expected);
            assertThat(found.texts()).isEmpty();
        }
    }
}
