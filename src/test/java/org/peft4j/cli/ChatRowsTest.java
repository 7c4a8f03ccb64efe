package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.peft4j.cli.Cli.lines;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.Fixtures;

/** Rows that people have, from files to adapters, scores and what {@code show} tells of them. */
class ChatRowsTest {
    private static final String TEMPLATE =
            "{{ bos_token }}{% for m in messages %}{% if m.role == 'critic' %}{{ raise_exception('No critics here') }}"
                    + "{% endif %}[{{ m.role }}] {{ m.content }}{{ eos_token }}{% endfor %}"
                    + "{% if add_generation_prompt %}[assistant]{% endif %}";

    private static final String TURNS = "{\"messages\": [{\"role\": \"user\", \"content\": \"the list\"},"
            + " {\"role\": \"assistant\", \"content\": \"of mail\"}, {\"role\": \"user\", \"content\": \"you\"},"
            + " {\"role\": \"assistant\", \"content\": \"url\"}]}";

    @TempDir
    static Path shared;

    @TempDir
    Path temporary;

    private static Path model;
    private static Path template;

    @BeforeAll
    static void model() throws IOException {
        model = Fixtures.copyTinyLlama(shared.resolve("chatty"));
        Files.copy(Fixtures.TINY_LLAMA.resolve("generation_config.json"), model.resolve("generation_config.json"));
        Cli.write(model.resolve("chat_template.jinja"), TEMPLATE);
        template = Cli.write(shared.resolve("mine.jinja"), TEMPLATE.replace("[", "of "));
    }

    private Path rows(String... lines) throws IOException {
        return Cli.write(temporary.resolve("rows.jsonl"), String.join("\n", lines) + "\n");
    }

    private Cli.Result train(Path base, Path data, String... sets) throws IOException {
        Path file = Cli.write(temporary.resolve("run.yaml"), """
                model: {path: %s, dropout: 0}
                task: {type: causal-lm, max_length: 64}
                data: {train: %s, validation: %s}
                method: {type: lora, r: 2, targets: all-linear}
                training: {epochs: 1, log_every: 1}
                output: %s
                """.formatted(base, data, data, temporary.resolve("run")));
        List<Object> call = new ArrayList<>(List.of("train", "--config", file));
        for (String set : sets) {
            call.addAll(List.of("--set", set));
        }
        return Cli.run(call.toArray());
    }

    private List<JsonNode> shown(Path data, Object... more) throws IOException {
        List<Object> call = new ArrayList<>(List.of("show", "--model", model, "--data", data));
        call.addAll(List.of(more));
        return lines(Cli.run(call.toArray()));
    }

    private void refused(Cli.Result result, String... parts) {
        assertThat(result.status()).as(result.err()).isEqualTo(2);
        assertThat(result.err()).startsWith("peft4j: ").contains(parts).hasLineCount(1);
        assertThat(temporary.resolve("run")).doesNotExist();
    }

    // What a row becomes.

    /** The text of the tokens that carry loss. */
    private String trained(JsonNode row) throws IOException {
        StringBuilder ids = new StringBuilder();
        for (int i = 0; i < row.get("ids").size(); i++) {
            ids.append(
                    row.get("trained").get(i).asInt() == 1
                            ? row.get("ids").get(i).asText() + " "
                            : "");
        }
        return ids.toString().strip();
    }

    @Test
    void theSpecialTokensAreTheTemplatesAndTheLossIsOnTheAssistant() throws IOException {
        Path data = rows(TURNS);

        JsonNode all = shown(data).get(0);
        JsonNode last = shown(data, "--loss-on", "last").get(0);
        JsonNode every = shown(data, "--loss-on", "all").get(0);

        assertThat(all.get("rendered").asText())
                .isEqualTo("<s>[user] the list</s>[assistant] of mail</s>[user] you</s>[assistant] url</s>");
        List<Integer> ids = new ArrayList<>();
        all.get("ids").forEach(id -> ids.add(id.asInt()));
        assertThat(ids.stream().filter(id -> id == 1)).as("one start token").hasSize(1);
        assertThat(ids.get(0)).isEqualTo(1);
        assertThat(trained(all)).endsWith(" " + trained(last)).isNotEqualTo(trained(last));
        assertThat(trained(all)).contains(" 2 ").endsWith(" 2");
        assertThat(trained(every).split(" ", -1)).hasSize(ids.size() - 1);
        assertThat(all.has("note")).isFalse();
    }

    /** Five ways to write one conversation. */
    @Test
    void formsThatSayTheSameBecomeTheSame() throws IOException {
        List<JsonNode> rows = shown(rows(
                "{\"messages\": [{\"role\": \"user\", \"content\": \"the list\", \"name\": null},"
                        + " {\"role\": \"assistant\", \"content\": \"url\"}], \"tools\": \"\"}",
                "{\"conversations\": [{\"from\": \"human\", \"value\": \"the list\"},"
                        + " {\"from\": \"gpt\", \"value\": \"url\"}]}",
                "{\"conversations\": [{\"role\": \"user\", \"content\": \"the list\"},"
                        + " {\"role\": \"assistant\", \"content\": \"url\"}]}",
                "{\"instruction\": \"the list\", \"input\": \"\", \"output\": \"url\"}",
                "{\"prompt\": \"the list\", \"completion\": \"url\"}",
                "{\"prompt\": [{\"role\": \"user\", \"content\": \"the list\"}],"
                        + " \"completion\": [{\"role\": \"assistant\", \"content\": \"url\"}]}"));

        assertThat(rows).hasSize(6).allSatisfy(row -> assertThat(row).isEqualTo(rows.get(0)));
        assertThat(rows.get(0).get("rendered").asText()).isEqualTo("<s>[user] the list</s>[assistant] url</s>");
    }

    @Test
    void ofACompletionThePromptsTurnsAreNotLearnt() throws IOException {
        String prompt = "{\"prompt\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\":"
                + " \"you\"}, {\"role\": \"user\", \"content\": \"b\"}], \"completion\": [{\"role\": \"assistant\","
                + " \"content\": \"url\"}]}";

        JsonNode row = shown(rows(prompt)).get(0);

        assertThat(trained(row))
                .isEqualTo(trained(shown(
                                rows(prompt.replace("\"prompt\"", "\"messages\"")
                                        .replace("}], \"completion\": [", "}, ")),
                                "--loss-on",
                                "last")
                        .get(0)));
    }

    @Test
    void systemAndToolsReachTheTemplate() throws IOException {
        Path other = Cli.write(
                temporary.resolve("tools.jinja"),
                "{{ tools | length }}{{ tools[0].function.name }}{% for m in messages %}|{{ m.role }}:{{ m.content }}"
                        + "{% if m.tool_calls %}{{ m.tool_calls[0].function.name }}{% endif %}{% endfor %}");
        String tools = "[{\"type\": \"function\", \"function\": {\"name\": \"clock\"}}]";
        String messages = "\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"function_call\","
                + " \"value\": \"{\\\"name\\\": \\\"clock\\\", \\\"arguments\\\": {}}\"}, {\"from\": \"observation\","
                + " \"value\": \"b\"}, {\"from\": \"gpt\", \"value\": \"c\"}]";

        List<JsonNode> rows = shown(
                rows(
                        "{\"system\": \"s\", " + messages + ", \"tools\": " + tools + "}",
                        "{\"system\": \"s\", " + messages + ", \"tools\": " + TaskRuns.JSON.writeValueAsString(tools)
                                + "}"),
                "--template",
                other,
                "--loss-on",
                "all");

        assertThat(rows)
                .allSatisfy(row -> assertThat(row.get("rendered").asText())
                        .isEqualTo("1clock|system:s|user:a|assistant:clock|tool:b|assistant:c"));
    }

    @Test
    void withoutATemplateAlpacaHasItsOwnForm() throws IOException {
        Path data = rows(
                "{\"instruction\": \"I\", \"input\": \"N\", \"output\": \"url\"}",
                "{\"instruction\": \"I\", \"output\": \"url\"}");

        List<JsonNode> rows = lines(Cli.run("show", "--model", Fixtures.TINY_LLAMA, "--data", data));

        assertThat(rows.get(0).get("rendered").asText())
                .isEqualTo("Below is an instruction that describes a task, paired with an input that provides further"
                        + " context. Write a response that appropriately completes the request.\n\n### Instruction:\nI\n\n"
                        + "### Input:\nN\n\n### Response:url");
        assertThat(rows.get(1).get("rendered").asText())
                .isEqualTo("Below is an instruction that describes a task. Write a response that appropriately"
                        + " completes the request.\n\n### Instruction:\nI\n\n### Response:url");
        Cli.Result trained = train(Fixtures.TINY_LLAMA, data, "task.max_length=300");
        assertThat(trained.status()).as(trained.err()).isZero();
        assertThat(trained.out()).contains("rows by form: 2 instruction\nchat template: Alpaca's own form");
    }

    @Test
    void rowsAreWholeUnlessALimitIsSaid() throws IOException {
        Path data = rows(TURNS);
        JsonNode whole = shown(data).get(0);
        JsonNode cut = shown(data, "--max-length", 5).get(0);

        assertThat(whole.get("ids").size()).isGreaterThan(32);
        assertThat(cut.get("ids")).hasSize(5);
        assertThat(cut.get("trained")).hasSize(5);
        assertThat(cut.get("note").asText()).isEqualTo("the row is cut");
        assertThat(cut.get("rendered")).isEqualTo(whole.get("rendered"));
    }

    @Test
    void showReadsARunFileAndOtherTasks() throws IOException {
        Path data = rows(TURNS);
        train(model, data, "task.loss_on=last");

        JsonNode row = lines(Cli.run(
                        "show",
                        "--config",
                        temporary.resolve("run.yaml"),
                        "--set",
                        "task.truncation=left",
                        "--set",
                        "task.max_length=30"))
                .get(0);
        JsonNode tags = lines(Cli.run(
                        "show",
                        "--model",
                        Fixtures.TINY_BERT,
                        "--task",
                        "token-classification",
                        "--data",
                        rows("{\"words\": [\"spam\", \"list\"], \"tags\": [\"O\", \"O\"]}")))
                .get(0);
        JsonNode classes = lines(Cli.run(
                        "show",
                        "--model",
                        Fixtures.TINY_BERT,
                        "--task",
                        "sequence-classification",
                        "--data",
                        rows("{\"text\": \"spam list\"}")))
                .get(0);

        assertThat(row.get("ids")).hasSize(30);
        assertThat(row.get("ids").get(29).asInt()).as("its end is kept").isEqualTo(2);
        assertThat(row.get("note").asText()).isEqualTo("the row is cut");
        assertThat(tags.get("rendered").asText()).isEqualTo("spam list");
        assertThat(tags.get("trained").toString())
                .startsWith("[0,1,")
                .contains("1")
                .endsWith(",0]");
        assertThat(classes.get("trained").isNull()).isTrue();
        assertThat(classes.get("note").asText()).contains("not of its tokens");
    }

    // Training, and what stands beside the adapter.

    @Test
    void theTemplateStaysWithTheAdapter() throws IOException {
        Path data = rows(TURNS, "{\"instruction\": \"the list\", \"output\": \"mail\"}");
        Cli.Result trained = train(Fixtures.TINY_LLAMA, data, "task.template=" + template, "task.loss_on=response");
        assertThat(trained.status()).as(trained.err()).isZero();
        assertThat(trained.out())
                .contains("rows by form: 1 messages, 1 instruction\nchat template: " + template + "\n");
        Path run = temporary.resolve("run");
        Map<String, Object> json = TaskRuns.runJson(run);
        assertThat(json.get("train_rows")).isEqualTo(Map.of("messages", 1, "instruction", 1));
        assertThat(json.get("train_template")).isEqualTo(template.toString());
        assertThat(run.resolve("chat_template.jinja")).hasSameTextualContentAs(template);
        assertThat(Files.readString(run.resolve("peft4j.json")))
                .contains("\"assistant\"")
                .doesNotContain("mine.jinja");

        Object[] use = {"--model", Fixtures.TINY_LLAMA, "--adapter", run, "--data", data};
        JsonNode metrics = TaskRuns.JSON.readTree(done("evaluate", use).out());
        double sum = 0;
        long tokens = 0;
        for (JsonNode row : lines(done("score", use, "--out", "-"))) {
            sum += row.get("log_prob").asDouble();
            tokens += row.get("tokens").asLong();
        }
        assertThat(tokens).isEqualTo(metrics.get("tokens").asLong());
        assertThat(-sum / tokens).isCloseTo(metrics.get("loss").asDouble(), within(1e-5));
        assertThat(lines(done("show", use)).get(0).get("rendered").asText())
                .startsWith("<s>of user] the list</s>of assistant] of mail</s>");
        Path merged = temporary.resolve("merged");
        assertThat(Cli.run("merge", "--model", Fixtures.TINY_LLAMA, "--adapter", run, "--out", merged)
                        .status())
                .isZero();
        assertThat(merged.resolve("chat_template.jinja")).hasSameTextualContentAs(template);
        assertThat(train(model, rows("{\"text\": \"you\"}"), "output=" + run.resolveSibling("texts"))
                        .status())
                .isZero();
        assertThat(run.resolveSibling("texts/chat_template.jinja")).doesNotExist();
    }

    private static Cli.Result done(String command, Object[] use, Object... more) {
        List<Object> call = new ArrayList<>(List.of(command));
        call.addAll(List.of(use));
        call.addAll(List.of(more));
        Cli.Result result = Cli.run(call.toArray());
        assertThat(result.status()).as(result.err()).isZero();
        return result;
    }

    @Test
    void rowsOfWhichNothingIsLearntAreLeftOutAndCounted() throws IOException {
        refused(
                train(model, rows(TURNS), "task.truncation=refuse", "task.max_length=20"),
                "rows.jsonl: line 1: a row must have at most 20 tokens (task.max_length), this one has more");
        Path data = rows(
                "{\"messages\": [{\"role\": \"user\", \"content\": \"you\"}]}",
                TURNS.replace("the list", "the list ".repeat(40)),
                "{\"messages\": [{\"role\": \"user\", \"content\": \"you\"},"
                        + " {\"role\": \"assistant\", \"content\": \"url\"}]}");

        Cli.Result trained = train(model, data, "task.max_length=40");

        assertThat(trained.status()).as(trained.err()).isZero();
        assertThat(trained.out())
                .contains("note: 2 of 3 rows of " + data + " are left out: none of their tokens counts")
                .contains("\n1 rows, 1 steps of 16 rows; none is longer than 40 tokens");
    }

    @Test
    void packsAndTokensOfBatchesAreCounted() throws IOException {
        List<String> lines = new ArrayList<>();
        for (int i = 0; i < 12; i++) {
            lines.add("{\"text\": \"" + "you ".repeat(1 + i * 5 % 12).strip() + "\"}");
        }
        Path data = rows(lines.toArray(String[]::new));

        Cli.Result packed = train(model, data, "task.max_length=16", "task.packing=true");
        assertThat(packed.status()).as(packed.err()).isZero();
        Map<String, Object> json = TaskRuns.runJson(temporary.resolve("run"));
        double full = ((Number) json.get("train_packs_full")).doubleValue();
        assertThat(full).isBetween(0.8, 1.0);
        assertThat(packed.out())
                .contains("packed into " + json.get("train_examples") + " rows of at most 16 tokens, which are ");
        assertThat(Files.readString(temporary.resolve("run/report.html"))).contains("of the packs is full");

        Cli.Result tokens = train(
                model, data, "training.batch_tokens=20", "training.epochs=3", "output=" + temporary.resolve("tokens"));
        assertThat(tokens.status()).as(tokens.err()).isZero();
        assertThat(tokens.out()).contains(" steps of at most 20 tokens; ");
        Path run = temporary.resolve("tokens");
        List<JsonNode> steps = TaskRuns.steps(run);
        assertThat(steps).hasSize(((Number) TaskRuns.runJson(run).get("total_steps")).intValue());
        assertThat(steps)
                .allSatisfy(step -> assertThat(step.get("tokens").asInt()).isBetween(1, 20));
        assertThat(steps.get(steps.size() - 1).get("epoch").asDouble()).isEqualTo(3);
    }

    // Refusals.

    @Test
    void whatCannotBeToldIsShownButNotTrained() throws IOException {
        Path data = rows(TURNS);
        Path odd = Cli.write(
                temporary.resolve("odd.jinja"),
                "{% for m in messages %}{{ m.role }} {{ m.content }}{% if not loop.last %} and{% endif %}"
                        + "{% endfor %}{% if add_generation_prompt %}!{% endif %}");

        JsonNode row = shown(data, "--template", odd).get(0);

        assertThat(row.get("rendered").asText())
                .isEqualTo("user the list andassistant of mail anduser you andassistant url");
        assertThat(row.get("trained").isNull()).isTrue();
        assertThat(row.get("note").asText()).contains("cannot be told", "{% generation %}");
        refused(
                train(model, data, "task.template=" + odd),
                "rows.jsonl: line 1: " + odd,
                "cannot be told",
                "give a template with {% generation %} blocks");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "{\"text\": \"a\", \"prompt\": \"a\", \"response\": \"b\"}; fit more than one form of rows: text, prompt; say"
                        + " which is meant by task.rows",
                "{\"messages\": [{\"role\": \"critic\", \"content\": \"a\"}]}; the template refuses these messages: No critics here",
                "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, \"b\"]}; for message 2 in column 'messages', received"
                        + " a text",
                "{\"messages\": [{\"role\": \"user\", \"content\": 5}]}; as content of message 1 in column 'messages',"
                        + " received the number 5",
                "{\"messages\": [{\"content\": \"a\"}]}; expected a text as role (or from) of message 1 in column 'messages',"
                        + " received the keys [content]",
                "{\"messages\": []}; expected at least one message in column 'messages', received an empty list",
                "{\"messages\": {\"role\": \"user\"}}; expected a list of messages, [{\"role\": …, \"content\": …}, …] in"
                        + " column 'messages', received an object",
                "{\"messages\": [{\"role\": \"user\", \"content\": \"a\", \"weight\": 0}]}; message 1 in column 'messages' has"
                        + " weight 0, but messages cannot be weighed",
                "{\"conversations\": [{\"from\": \"me\", \"value\": \"a\"}]}; received \"me\"",
                "{\"conversations\": [{\"from\": \"human\"}]}; expected a text as value of message 1 in column"
                        + " 'conversations'",
                "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"tools\": \"[1]\"}; expected an object for tool 1"
                        + " in column 'tools', received the number 1",
                "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"tools\": \"[\"}; received a text that is no valid"
                        + " JSON",
                "{\"prompt\": \"a\", \"completion\": []}; expected two texts, or two lists of messages",
                "{\"prompt\": \"a\", \"completion\": \"b\", \"response\": \"c\"}; the row has two answers",
                "{\"instruction\": \"a\", \"output\": \"b\", \"history\": [[\"a\", \"b\"]]}; no column 'history' here",
                "{\"messages\": [{\"role\": \"system\", \"content\": \"a\"}], \"system\": \"b\"}; a system message stands in"
                        + " column 'system' and at the beginning of column 'messages'",
                "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"chat_template_kwargs\": {\"a\": 1}}; give them to"
                        + " all rows by task.template_variables",
                "{\"message\": [1]}; expected a text in column 'text'"
            })
    void oddRowsAreToldByLineAndMessage(String row, String message) throws IOException {
        Path data = rows(TURNS, row);

        refused(train(model, data), "rows.jsonl: line 2: ", message);
        refused(Cli.run("show", "--model", model, "--data", data), "rows.jsonl: line 2: ", message);
    }

    /** What order roles have, and whether a turn may be empty, is the template's to say. */
    @Test
    void oddConversationsThatTheTemplateTakesAreTaken() throws IOException {
        List<JsonNode> rows = shown(rows(
                "{\"messages\": [{\"role\": \"assistant\", \"content\": \"url\"}, {\"role\": \"user\", \"content\": \"\"}]}",
                "{\"messages\": [{\"role\": \"user\", \"content\": \"you\"}, {\"role\": \"assistant\", \"content\": \"\"}],"
                        + " \"system\": \"list\"}"));

        assertThat(rows.get(0).get("rendered").asText()).isEqualTo("<s>[assistant] url</s>[user] </s>");
        assertThat(rows.get(1).get("rendered").asText())
                .isEqualTo("<s>[system] list</s>[user] you</s>[assistant] </s>");
    }

    @Test
    void rowsSayWhichFormIsMeant() throws IOException {
        Path data = rows("{\"text\": \"a\", \"prompt\": \"you\", \"response\": \"b\"}");

        assertThat(shown(data, "--rows", "text").get(0).get("rendered").asText())
                .isEqualTo("a");
        assertThat(shown(data, "--rows", "prompt").get(0).get("rendered").asText())
                .isEqualTo("youb");
        refused(
                Cli.run("show", "--model", model, "--data", data, "--rows", "messages"),
                "line 1: no column 'messages'");
    }

    @Test
    void withoutATemplateConversationsAreRefusedWithTheWayOut() throws IOException {
        refused(
                train(Fixtures.TINY_LLAMA, rows(TURNS)),
                "rows.jsonl: line 1: ",
                "the tokenizer has no chat template",
                "task.template: FILE.jinja");
        refused(train(model, rows(TURNS), "task.template=nowhere.jinja"), "there is no file nowhere.jinja");
        refused(train(model, rows(TURNS), "task.template=defautl"), "no chat template 'defautl'", "default");
    }

    @Test
    void aCommandOfShowThatSaysTwoThingsIsRefused() throws IOException {
        Path data = rows(TURNS);
        refused(Cli.run("show", "--data", data), "give --model, or --config");
        refused(Cli.run("show", "--model", model), "give --data");
        refused(Cli.run("show", "--model", model, "--data", data, "--set", "task.rows=text"), "give --config, too");
        refused(
                Cli.run("show", "--model", model, "--data", data, "--loss-on", "assitant"),
                "did you mean 'assistant'?");
    }

    /** On a terminal people see the text, with what carries loss in green; a row's own escapes are not obeyed. */
    @Test
    void aTerminalShowsTheTextInColours() throws IOException {
        Path data = rows("{\"messages\": [{\"role\": \"user\", \"content\": \"you\\u001b\"},"
                + " {\"role\": \"assistant\", \"content\": \"url\"}]}");
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        PrintStream stream = new PrintStream(out, true, StandardCharsets.UTF_8);

        int status = Main.run(
                new Main(stream, stream, StandardCharsets.UTF_8, true),
                "show",
                "--model",
                model.toString(),
                "--data",
                data.toString());

        assertThat(status).isZero();
        String shown = out.toString(StandardCharsets.UTF_8);
        assertThat(shown).startsWith("── " + data + ", line 1: ").contains(" of them trained\n", "\u001b[32m");
        assertThat(shown.replaceAll("\u001b\\[(32|0)m", "")).contains("url").doesNotContain("\u001b");
    }

    @Test
    void scoresTakeATemplateOfTheCallers() throws IOException {
        Path data = rows(TURNS);
        Object[] use = {"--model", Fixtures.TINY_LLAMA, "--data", data, "--template", template, "--max-length", 64};

        List<JsonNode> scored = lines(done("score", use, "--out", "-", "--loss-on", "last"));
        JsonNode evaluated = TaskRuns.JSON.readTree(
                done("evaluate", use, "--loss-on", "last").out());

        assertThat(scored.get(0).get("tokens")).isEqualTo(evaluated.get("tokens"));
        assertThat(-scored.get(0).get("log_prob").asDouble())
                .isCloseTo(
                        evaluated.get("loss").asDouble()
                                * evaluated.get("tokens").asDouble(),
                        within(1e-4));
    }

    /** Templates by name stay with a merged model that has no template of the adapter's. */
    @Test
    void aMergedModelKeepsItsTemplates() throws IOException {
        Path base = temporary.resolve("named");
        Files.createDirectories(base.resolve("additional_chat_templates"));
        for (String name : Cli.files(model)) {
            Files.copy(model.resolve(name), base.resolve(name));
        }
        Path named = Cli.write(base.resolve("additional_chat_templates/tool_use.jinja"), "tools" + TEMPLATE);
        assertThat(train(base, rows("{\"text\": \"you\"}")).status()).isZero();
        Path merged = temporary.resolve("merged");

        assertThat(Cli.run("merge", "--model", base, "--adapter", temporary.resolve("run"), "--out", merged)
                        .status())
                .isZero();

        assertThat(merged.resolve("additional_chat_templates/tool_use.jinja")).hasSameTextualContentAs(named);
        Path tools = rows(TURNS, TURNS.replace("\"messages\"", "\"tools\": [{}], \"messages\""));
        Cli.Result both = train(base, tools, "output=" + temporary.resolve("both"));
        assertThat(both.status()).isEqualTo(2);
        assertThat(both.err())
                .contains("rows with tools take another chat template than rows without", "task.template");
    }

    @Test
    void aSentencePieceModelAloneIsRefusedWithTheWayToConvert() throws IOException {
        Path base = Files.createDirectory(temporary.resolve("spm"));
        for (String name : List.of("config.json", "model.safetensors")) {
            Files.copy(model.resolve(name), base.resolve(name));
        }
        Cli.write(base.resolve("tokenizer.model"), "x");

        refused(
                Cli.run("show", "--model", base, "--data", rows(TURNS)),
                "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)");
    }
}
