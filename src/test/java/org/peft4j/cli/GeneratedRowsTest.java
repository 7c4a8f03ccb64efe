package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.peft4j.cli.Cli.lines;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.Fixtures;

/** Rows of all forms that {@code generate} goes on with, and where answers in a conversation end. */
class GeneratedRowsTest {
    private static final String TEMPLATE =
            "{{ bos_token }}{% for m in messages %}{% if m.role == 'critic' %}{{ raise_exception('No critics here') }}"
                    + "{% endif %}[{{ m.role }}] {{ m.content }}{{ eos_token }}{% endfor %}"
                    + "{% if add_generation_prompt %}[assistant]{% endif %}";

    private static final String ASKED = "{\"messages\": [{\"role\": \"user\", \"content\": \"the list\"}]}";

    @TempDir
    static Path shared;

    @TempDir
    Path temporary;

    private static Path model;

    @BeforeAll
    static void model() throws IOException {
        model = Fixtures.copyTinyLlama(shared.resolve("chatty"));
        Cli.write(model.resolve("chat_template.jinja"), TEMPLATE);
    }

    private Cli.Result generate(Path from, String rows, Object... more) throws IOException {
        Path data = Cli.write(temporary.resolve("rows.jsonl"), rows);
        List<Object> call = new ArrayList<>(
                List.of("generate", "--model", from, "--data", data, "--out", "-", "--max-new-tokens", 6));
        call.addAll(List.of(more));
        return Cli.run(call.toArray());
    }

    private List<JsonNode> generated(String... rows) throws IOException {
        return lines(generate(model, String.join("\n", rows)));
    }

    @Test
    void formsThatAskTheSameGetTheSameAndAnswersAreNotGiven() throws IOException {
        List<JsonNode> rows = generated(
                "{\"prompt\": \"[user] the list</s>[assistant]\"}", // as a text, with the tokenizer's start token
                ASKED,
                "{\"messages\": [{\"role\": \"user\", \"content\": \"the list\"},"
                        + " {\"role\": \"assistant\", \"content\": \"url\"}]}",
                "{\"conversations\": [{\"from\": \"human\", \"value\": \"the list\"},"
                        + " {\"from\": \"gpt\", \"value\": \"url\"}]}",
                "{\"instruction\": \"the list\"}",
                "{\"instruction\": \"the list\", \"input\": \"\", \"output\": \"url\"}",
                "{\"prompt\": \"the list\", \"completion\": \"url\"}",
                "{\"prompt\": [{\"role\": \"user\", \"content\": \"the list\"}]}",
                "{\"prompt\": [{\"role\": \"user\", \"content\": \"the list\"}],"
                        + " \"completion\": [{\"role\": \"assistant\", \"content\": \"url\"}]}");

        assertThat(rows).hasSize(9);
        assertThat(rows)
                .allSatisfy(row ->
                        assertThat(row.get("output_ids")).isEqualTo(rows.get(0).get("output_ids")));
        assertThat(rows.get(0).get("output_ids")).isNotEmpty();
    }

    @Test
    void textsGoOnAsTheyAre() throws IOException {
        List<JsonNode> rows = generated(
                "{\"prompt\": \"the list\"}",
                "{\"text\": \"the list\"}",
                "{\"prompt\": \"the list\", \"response\": \"url\"}");
        assertThat(rows)
                .allSatisfy(row ->
                        assertThat(row.get("output_ids")).isEqualTo(rows.get(0).get("output_ids")));

        List<JsonNode> without = lines(generate(
                Fixtures.TINY_LLAMA,
                "{\"prompt\": \"the list\", \"completion\": \"url\"}\n{\"prompt\": \"the list\"}\n"
                        + "{\"instruction\": \"the list\"}\n"));
        assertThat(without.get(0).get("output_ids")).isEqualTo(without.get(1).get("output_ids"));
        assertThat(without.get(2).get("output_ids")).as("Alpaca's own form").isNotEmpty();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "{\"text\": \"a\", \"prompt\": \"b\"}; fit more than one form of rows: text, prompt",
                "{\"prompt\": \"a\", \"instruction\": \"b\"}; fit more than one form",
                "{\"body\": \"a\"}; expected a text in column 'text', a prompt in column 'prompt', messages in column"
                        + " 'messages' or 'conversations', or 'instruction', received",
                "{\"messages\": [{\"role\": \"assistant\", \"content\": \"a\"}]}; expected a message before the"
                        + " assistant's",
                "{\"messages\": [{\"role\": \"critic\", \"content\": \"a\"}]}; No critics here",
                "{\"prompt\": [{\"role\": \"assistant\", \"content\": \"a\"}]}; the last message is the assistant's"
                        + " already",
                "{\"prompt\": \"a\", \"completion\": []}; expected two texts, or two lists of messages",
                "{\"prompt\": \"a\", \"completion\": \"b\", \"response\": \"c\"}; the row has two answers",
                "{\"instruction\": \"a\", \"history\": [[\"a\", \"b\"]]}; no column 'history' here"
            })
    void oddRowsAreToldByLine(String row, String message) throws IOException {
        Cli.Result result = generate(model, ASKED + "\n" + row + "\n");

        assertThat(result.status()).isEqualTo(2);
        assertThat(result.err())
                .startsWith("peft4j: ")
                .contains("rows.jsonl: line 2: ", message)
                .hasLineCount(1);
    }

    @Test
    void theFormAndTheTemplateMayBeNamed() throws IOException {
        String both = "{\"text\": \"a\", \"prompt\": \"the list\"}\n";
        assertThat(lines(generate(model, both, "--rows", "prompt")).get(0).get("output_ids"))
                .isEqualTo(generated("{\"prompt\": \"the list\"}").get(0).get("output_ids"));
        Path named = Cli.write(temporary.resolve("mine.jinja"), TEMPLATE);
        assertThat(lines(generate(Fixtures.TINY_LLAMA, ASKED, "--template", named))
                        .get(0)
                        .get("output_ids"))
                .isEqualTo(generated(ASKED).get(0).get("output_ids"));
        assertThat(generate(Fixtures.TINY_LLAMA, ASKED).err())
                .contains("rows.jsonl: line 1: ", "the tokenizer has no chat template");
    }

    /** The template's end is what the model says third. */
    @Test
    void anAnswerEndsWhereTheTemplateEndsATurn() throws IOException {
        JsonNode whole = generated(ASKED).get(0);
        int third = whole.get("output_ids").get(2).asInt();
        JsonNode tokenizer =
                TaskRuns.JSON.readTree(model.resolve("tokenizer.json").toFile());
        String name = "";
        for (var entry : tokenizer.get("model").get("vocab").properties()) {
            name = entry.getValue().asInt() == third ? entry.getKey() : name;
        }
        String text = whole.get("output").asText();
        String ending = TEMPLATE.replace("{{ eos_token }}{% endfor", "{{ END }}{% endfor");

        // a special token of the tokenizer
        Path special = Fixtures.copyTinyLlama(temporary.resolve("special"));
        ObjectNode added = tokenizer.get("added_tokens").get(2).deepCopy();
        added.put("id", third).put("content", name);
        ((com.fasterxml.jackson.databind.node.ArrayNode) tokenizer.get("added_tokens")).add(added);
        TaskRuns.JSON.writeValue(special.resolve("tokenizer.json").toFile(), tokenizer);
        Cli.write(
                special.resolve("chat_template.jinja"),
                ending.replace("END", "'" + name + "' if m.role == 'assistant' else eos_token"));
        JsonNode ended = lines(generate(special, ASKED)).get(0);
        assertThat(ended.get("output_ids")).hasSize(2);

        // plain text
        String stop = text.substring(text.length() - 3);
        Path plain = Cli.write(
                temporary.resolve("plain.jinja"),
                ending.replace("END", "'" + stop + "' if m.role == 'assistant' else eos_token"));
        JsonNode stopped = lines(generate(model, ASKED, "--template", plain)).get(0);
        assertThat(stopped.get("output").asText()).isEqualTo(text.substring(0, text.indexOf(stop)));
        assertThat(lines(generate(model, "{\"prompt\": \"[user] the list</s>[assistant]\"}", "--template", plain))
                        .get(0)
                        .get("output")
                        .asText())
                .as("a text that is no conversation")
                .isEqualTo(text);
    }
}
