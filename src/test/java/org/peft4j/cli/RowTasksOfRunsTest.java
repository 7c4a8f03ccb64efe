package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.BaseModel;
import org.peft4j.Chat;
import org.peft4j.LoadedAdapter;
import org.peft4j.TextClassifier;
import org.peft4j.TextEmbedder;
import org.peft4j.TextGenerator;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;

/** A column says which of an adapter's tasks each row is of: runs, and every call that uses what they saved. */
class RowTasksOfRunsTest {
    private static final String POLY = "{type: poly, r: 2, n_tasks: 3, n_skills: 3, targets: all-linear}";
    private static final String MULTITASK = "{type: multitask-prompt-tuning, virtual_tokens: 2, tasks: 3}";

    @TempDir
    Path dir;

    static Stream<TaskRuns> runs() {
        return Stream.of(
                TaskRuns.singleLabel(),
                TaskRuns.tagging(),
                TaskRuns.pairs(),
                TaskRuns.texts(),
                TaskRuns.packedTexts(),
                TaskRuns.responses());
    }

    /** The same rows, each of a task; columns that are null are left out. */
    private static TaskRuns ofTasks(TaskRuns run, Object... tasks) {
        List<Map<String, Object>> rows = new ArrayList<>();
        for (int i = 0; i < TaskRuns.ROWS; i++) {
            Map<String, Object> row = new LinkedHashMap<>(run.rows().get(i));
            if (tasks[i % tasks.length] != null) {
                row.put("domain", tasks[i % tasks.length]);
            }
            rows.add(row);
        }
        return new TaskRuns(run.name(), run.model(), run.task(), rows);
    }

    private Cli.Result train(TaskRuns run, String method, String taskId) throws IOException {
        Path data = run.data(dir);
        String task = taskId == null ? run.task() : run.task().replace("{type", "{task_id: " + taskId + ", type");
        Path file = Files.writeString(
                dir.resolve("run.yaml"), """
                model: {path: %s, dropout: 0}
                task: %s
                data: {train: %s, validation: %s}
                method: %s
                training: {epochs: 6, batch_size: 4, optimizer: {learning_rate: 1e-1}}
                output: %s
                """.formatted(run.model(), task, data, data, method, dir.resolve("run")));
        return Cli.run("train", "--config", file);
    }

    private Path trained(TaskRuns run, String method, String taskId) throws IOException {
        Cli.Result result = train(run, method, taskId);
        assertThat(result.status()).as(result.err()).isZero();
        assertThat(result.err()).isEmpty();
        return dir.resolve("run");
    }

    private static String command(TaskRuns run) {
        return run.task().contains("causal-lm") ? "score" : run.task().contains("embedding") ? "embed" : "predict";
    }

    private static List<JsonNode> used(TaskRuns run, Path adapter, Path rows, Object... more) throws IOException {
        List<Object> call = new ArrayList<>(List.of(command(run), "--model", run.model(), "--adapter", adapter));
        call.addAll(List.of("--data", rows, "--out", "-"));
        call.addAll(List.of(more));
        return Cli.lines(Cli.run(call.toArray()));
    }

    private static List<Double> numbers(JsonNode row) {
        List<Double> numbers = new ArrayList<>();
        for (String key : List.of("logits", "embedding", "log_prob", "tags")) {
            JsonNode value = row.get(key);
            if (value != null && value.isArray()) {
                value.forEach(each -> numbers.add(
                        each.isNumber() ? each.doubleValue() : each.asText().hashCode()));
            } else if (value != null) {
                numbers.add(value.doubleValue());
            }
        }
        return numbers;
    }

    private static void close(List<Double> one, List<Double> other) {
        assertThat(one).hasSameSizeAs(other);
        for (int i = 0; i < one.size(); i++) {
            assertThat(one.get(i)).isCloseTo(other.get(i), within(1e-4 * Math.max(1, Math.abs(other.get(i)))));
        }
    }

    @ParameterizedTest
    @MethodSource("runs")
    void rowsOfSeveralTasksGoTogetherAsAlone(TaskRuns run) throws Exception {
        TaskRuns mixed = ofTasks(run, 0, 2, "1");
        Path adapter = trained(mixed, POLY, "domain");
        assertThat(TaskRuns.JSON
                        .readTree(adapter.resolve("peft4j.json").toFile())
                        .get("task")
                        .get("task_id")
                        .asText())
                .isEqualTo("domain");

        List<JsonNode> together = used(run, adapter, mixed.data(dir));
        List<JsonNode> alone = used(run, adapter, mixed.data(dir), "--batch-size", 1);
        List<JsonNode> first = used(run, adapter, ofTasks(run, 0).data(dir));
        List<JsonNode> told = used(run, adapter, run.data(dir), "--task-id", 0);

        int others = 0;
        for (int i = 0; i < TaskRuns.ROWS; i++) {
            close(numbers(together.get(i)), numbers(alone.get(i)));
            close(numbers(first.get(i)), numbers(told.get(i)));
            if (i % 3 == 0) {
                close(numbers(together.get(i)), numbers(first.get(i)));
            } else {
                others += numbers(together.get(i)).equals(numbers(first.get(i))) ? 0 : 1;
            }
        }
        assertThat(others).as("rows of other tasks are said other things").isPositive();
        Cli.Result evaluated =
                Cli.run("evaluate", "--model", run.model(), "--adapter", adapter, "--data", mixed.data(dir));
        assertThat(evaluated.status()).as(evaluated.err()).isZero();
    }

    @Test
    void multitaskPromptsAndTextsWithoutRows() throws Exception {
        TaskRuns run = TaskRuns.singleLabel();
        Path adapter = trained(ofTasks(run, 0, 1, 2), MULTITASK, "domain");
        try (BaseModel base = BaseModel.open(run.model())) {
            LoadedAdapter loaded = base.load("it", adapter);
            assertThat(loaded.tasks()).isEqualTo(3);
            List<String> texts = List.of("spam mail from you", "spam mail from you", "the list");
            List<LoadedAdapter> views = List.of(loaded.ofTask(0), loaded.ofTask(2), loaded.ofTask(1));
            List<TextClassifier.Prediction> together = TextClassifier.predict(texts, views);
            assertThat(together.get(0).logits()).isNotEqualTo(together.get(1).logits());
            for (int i = 0; i < 3; i++) {
                List<Float> alone =
                        TextClassifier.of(views.get(i)).predict(texts.get(i)).logits();
                for (int c = 0; c < alone.size(); c++) {
                    assertThat(together.get(i).logits().get(c)).isCloseTo(alone.get(c), within(1e-4f));
                }
            }
            assertThatThrownBy(() -> TextClassifier.of(loaded).predict("spam"))
                    .isInstanceOf(MalformedFileException.class)
                    .hasMessageContaining("no column 'domain', which says the row's task (task_id)")
                    .hasMessageContaining("LoadedAdapter.ofTask");
            assertThatThrownBy(() -> loaded.ofTask(3))
                    .isInstanceOf(ConfigException.class)
                    .hasMessage("task_id: the task must be 0 to 2, one of the adapter's 3, got 3");
            views.get(0).close();
            assertThat(TextClassifier.of(loaded.ofTask(0)).predict("spam").labels())
                    .hasSize(1);
        }
    }

    @Test
    void textsAreGeneratedByTheirTasks() throws Exception {
        TaskRuns run = TaskRuns.chats();
        Cli.Result result = train(ofTasks(run, 0, 1, 2), POLY, "domain");
        assertThat(result.out()).as("what train suggests next").containsPattern("(chat|generate) .* --task-id 0");
        Path adapter = dir.resolve("run");
        TextGenerator.Options options =
                TextGenerator.Options.defaults().withMaxNewTokens(6).withLogProbs(true);
        try (BaseModel base = BaseModel.open(run.model())) {
            LoadedAdapter loaded = base.load("it", adapter);
            List<String> prompts = List.of("spam", "spam", "list", "spam");
            List<LoadedAdapter> views = List.of(loaded.ofTask(0), loaded.ofTask(1), loaded.ofTask(2), loaded.ofTask(0));
            List<TextGenerator.Continuation> together =
                    TextGenerator.generate(prompts, views, options, (prompt, piece) -> {});
            for (int i = 0; i < prompts.size(); i++) {
                TextGenerator.Continuation alone = TextGenerator.of(views.get(i))
                        .generate(List.of(prompts.get(i)), options)
                        .get(0);
                assertThat(alone.ids()).isEqualTo(together.get(i).ids());
                close(alone.logProbs(), together.get(i).logProbs());
            }
            assertThat(together.get(0).ids()).isEqualTo(together.get(3).ids());
            close(together.get(0).logProbs(), together.get(3).logProbs());
            assertThat(Math.abs(together.get(0).logProbs().get(0)
                            - together.get(1).logProbs().get(0)))
                    .isGreaterThan(1e-3);
            assertThatThrownBy(() -> TextGenerator.of(loaded).generate(List.of("spam"), options))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageStartingWith("prompt 1 of 1: a text has no column 'domain'")
                    .hasMessageContaining("LoadedAdapter.ofTask");
            Chat chat = Chat.of(loaded.ofTask(1));
            List<Double> said = chat.say("spam", options, piece -> {}).logProbs();
            chat.undo();
            chat.use(loaded.ofTask(0));
            assertThat(chat.say("spam", options, piece -> {}).logProbs()).isNotEqualTo(said);
            assertThatThrownBy(() -> Chat.of(loaded).say("spam", options, piece -> {}))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageStartingWith("the conversation: a text has no column 'domain'");
        }
        List<JsonNode> rows = Cli.lines(Cli.run(
                "generate",
                "--model",
                run.model(),
                "--adapter",
                adapter,
                "--data",
                ofTasks(run, 0, 1).data(dir),
                "--out",
                "-",
                "--max-new-tokens",
                4,
                "--log-probs"));
        List<JsonNode> ones = Cli.lines(Cli.run(
                "generate",
                "--model",
                run.model(),
                "--adapter",
                adapter,
                "--data",
                run.data(dir),
                "--out",
                "-",
                "--max-new-tokens",
                4,
                "--log-probs",
                "--task-id",
                1));
        int others = 0;
        for (int i = 0; i < TaskRuns.ROWS; i++) {
            double difference = rows.get(i).get("log_probs").get(0).doubleValue()
                    - ones.get(i).get("log_probs").get(0).doubleValue();
            if (i % 2 == 1) {
                assertThat(difference).as("row " + i).isCloseTo(0, within(1e-4));
                assertThat(rows.get(i).get("output_ids")).isEqualTo(ones.get(i).get("output_ids"));
            } else {
                others += Math.abs(difference) > 1e-3 ? 1 : 0;
            }
        }
        assertThat(others).isPositive();
        Cli.Result chatted = Cli.piped(
                "spam\n", "chat", "--model", run.model(), "--adapter", adapter, "--task-id", 2, "--max-new-tokens", 3);
        assertThat(chatted.status()).as(chatted.err()).isZero();
    }

    @Test
    void vectorsOfOneTask() throws Exception {
        TaskRuns run = TaskRuns.pairs();
        Path adapter = trained(ofTasks(run, 0, 1, 2), POLY, "domain");
        try (BaseModel base = BaseModel.open(run.model())) {
            LoadedAdapter loaded = base.load("it", adapter);
            float[] one = TextEmbedder.of(loaded.ofTask(1)).embed("spam mail");
            assertThat(TextEmbedder.of(loaded.ofTask(2)).embed("spam mail")).isNotEqualTo(one);
            Map<String, Object> row = new LinkedHashMap<>(Map.of("text", "spam mail", "domain", 1));
            assertThat((List<?>) base.answer(List.of(new BaseModel.Request(loaded, row)))
                            .get(0)
                            .get("embedding"))
                    .hasSize(one.length)
                    .first()
                    .isEqualTo(one[0]);
        }
    }

    @Test
    void tasksOfNoRowAreTold() throws Exception {
        Cli.Result result = train(ofTasks(TaskRuns.singleLabel(), 1), POLY, "domain");
        assertThat(result.status()).as(result.err()).isZero();
        assertThat(result.err() + result.out())
                .contains("no training row is of the adapter's tasks 0, 2: nothing is learned of them alone");
    }

    @Test
    void allRowsOfARunMayBeOfOneTask() throws Exception {
        Path adapter = trained(TaskRuns.singleLabel(), POLY, "2");
        TaskRuns run = TaskRuns.singleLabel();
        close(
                numbers(used(run, adapter, run.data(dir)).get(0)),
                numbers(used(run, adapter, run.data(dir), "--task-id", 2).get(0)));
        Cli.Result merged =
                Cli.run("merge", "--model", run.model(), "--adapter", adapter, "--out", dir.resolve("merged"));
        assertThat(merged.status()).isEqualTo(2);
        assertThat(merged.err()).contains("a poly adapter cannot be merged: each of its 3 tasks");
        assertThat(dir.resolve("merged")).doesNotExist();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "poly | | rows.jsonl, line 1: the adapter 'default' has 3 tasks, and each row must say which one it is of | 0",
                "poly | domain | rows.jsonl, line 3: the task must be 0 to 2, one of the adapter's 3, got 3 | 0, 1, 3",
                "poly | domain | line 2: expected a whole number from 0 in column 'domain', received 'x' | 0, x",
                "poly | domain | expected a whole number from 0 in column 'domain', received the number 1.5 | 0, 1.5",
                "poly | domain | expected a whole number from 0 in column 'domain', received the number -1 | 0, -1",
                "poly | domains | no column 'domains', which says the row's task (task_id); did you mean 'domain'? | 0, 1",
                "poly | 3 | the task must be 0 to 2, one of the adapter's 3, got 3 | 0",
                "lora | domain | task.task_id says which of the adapter's tasks rows are of, but method.type lora has no tasks | 0",
                "task | domain | method.task is 1 for all rows, but task.task_id says which task each row is of | 0, 1",
                "poly | '' | task_id must be the name of a column, or the number of all rows' task, received '' | 0",
                "poly | [a] | task_id must be the name of a column, or the number of all rows' task | 0",
            })
    void whatDoesNotFitIsRefused(String method, String taskId, String message, String tasks) throws Exception {
        String settings = Map.of(
                        "poly",
                        POLY,
                        "lora",
                        "{type: lora}",
                        "task",
                        MULTITASK.replace("tasks: 3", "tasks: 3, task: 1"))
                .get(method);
        List<Object> values = new ArrayList<>();
        for (String task : tasks.split(", ")) {
            values.add(
                    task.matches("-?\\d+")
                            ? Integer.valueOf(task)
                            : task.matches("[\\d.]+") ? (Object) Double.valueOf(task) : task);
        }
        String id = taskId == null ? null : taskId.isEmpty() ? "''" : taskId;
        for (TaskRuns run : List.of(TaskRuns.singleLabel(), TaskRuns.packedTexts())) {
            Cli.Result result = train(ofTasks(run, values.toArray()), settings, id);
            assertThat(result.status()).as(result.err()).isEqualTo(2);
            assertThat(result.err()).contains(message);
            assertThat(dir.resolve("run")).doesNotExist();
        }
    }

    @Test
    void callsThatDoNotFitAreRefused() throws Exception {
        TaskRuns run = TaskRuns.singleLabel();
        Path adapter = trained(ofTasks(run, 0, 1, 2), POLY, "domain");
        Path rows = ofTasks(run, 0, 1, 4).data(dir);
        Path out = dir.resolve("out.jsonl");
        for (Map.Entry<String, List<Object>> call : Map.<String, List<Object>>of(
                        "rows.jsonl, line 3: the task must be 0 to 2, one of the adapter's 3, got 4",
                        List.of("predict", "--data", rows, "--out", out, "--adapter", adapter),
                        "task_id: the task must be 0 to 2, one of the adapter's 3, got 9",
                        List.of("predict", "--data", rows, "--out", out, "--adapter", adapter, "--task-id", 9),
                        "no column 'field', which says the row's task (task_id)",
                        List.of("predict", "--data", rows, "--out", out, "--adapter", adapter, "--task-id", "field"))
                .entrySet()) {
            List<Object> all = new ArrayList<>(call.getValue());
            all.addAll(List.of("--model", run.model()));
            Cli.Result result = Cli.run(all.toArray());
            assertThat(result.status()).as(result.err()).isEqualTo(2);
            assertThat(result.err()).contains(call.getKey());
            assertThat(out).doesNotExist();
        }
        Cli.Result plain =
                Cli.run("score", "--model", TaskRuns.texts().model(), "--data", rows, "--out", out, "--task-id", 0);
        assertThat(plain.status()).isEqualTo(2);
        assertThat(plain.err())
                .contains("task_id says which of an adapter's tasks rows are of, but there is no adapter");
        Cli.Result unmarked = Cli.run("evaluate", "--model", run.model(), "--adapter", adapter, "--data", rows);
        assertThat(unmarked.status()).isEqualTo(2);
        assertThat(unmarked.err()).contains("rows.jsonl, line 3: the task must be 0 to 2");
    }
}
