package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What a run computes does not depend on how its rows are put into batches, through the command line. */
class TaskBatchesTest {
    private static final double TOLERANCE = 1e-6;

    @TempDir
    static Path shared;

    @TempDir
    Path temporary;

    static Stream<TaskRuns> sums() {
        return Stream.of(
                TaskRuns.singleLabel(),
                TaskRuns.multiLabel(),
                TaskRuns.regression(),
                TaskRuns.tagging(),
                TaskRuns.texts(),
                TaskRuns.packedTexts(),
                TaskRuns.responses(),
                TaskRuns.chats(),
                TaskRuns.cosines());
    }

    static Stream<TaskRuns> all() {
        return Stream.concat(sums(), Stream.of(TaskRuns.pairs()));
    }

    @ParameterizedTest
    @MethodSource("sums")
    void accumulatedBatchesAreOneLargeBatch(TaskRuns task) throws IOException {
        same(TaskRuns.steps(whole(task)), TaskRuns.steps(accumulated(task, 1, 8)));
    }

    @ParameterizedTest
    @MethodSource("all")
    void aBatchOfEnoughTokensIsOneOfAllRows(TaskRuns task) throws IOException {
        Path run = task.trained(temporary, task.name(), "training.batch_size=null", "training.batch_tokens=100000");

        same(TaskRuns.steps(whole(task)), TaskRuns.steps(run));
    }

    /** Three and three and two: the mean of their means would weigh the rows of the last one more. */
    @Test
    void aSmallerLastBatchCountsForItsRows() throws IOException {
        for (TaskRuns task : List.of(TaskRuns.singleLabel(), TaskRuns.cosines())) {
            same(TaskRuns.steps(whole(task)), TaskRuns.steps(accumulated(task, 3, 3)));
        }
    }

    /** A run whose two steps see all rows at once; trained once for all tests. */
    private static Path whole(TaskRuns task) throws IOException {
        Path directory = shared.resolve(task.name());
        return Files.exists(directory)
                ? directory.resolve("run")
                : task.trained(Files.createDirectory(directory), "run");
    }

    private Path accumulated(TaskRuns task, int batch, int count) throws IOException {
        return task.trained(
                temporary, task.name(), "training.batch_size=" + batch, "training.gradient_accumulation=" + count);
    }

    private static void same(List<JsonNode> whole, List<JsonNode> parts) {
        assertThat(whole).hasSize(2);
        assertThat(parts).hasSize(2);
        for (int i = 0; i < 2; i++) {
            for (String number : List.of("loss", "grad_norm")) {
                double expected = whole.get(i).get(number).asDouble();
                assertThat(expected).isGreaterThan(1e-3);
                assertThat(parts.get(i).get(number).asDouble())
                        .as("%s of step %d", number, i + 1)
                        .isCloseTo(expected, within(TOLERANCE * expected));
            }
            assertThat(parts.get(i).get("tokens")).isEqualTo(whole.get(i).get("tokens"));
        }
    }

    @ParameterizedTest
    @MethodSource("all")
    void evaluationDoesNotDependOnTheBatchSize(TaskRuns task) throws IOException {
        List<JsonNode> evaluations = new ArrayList<>();
        for (int batch : new int[] {1, 3}) {
            Cli.Result result = Cli.run(
                    "evaluate",
                    "--model",
                    task.model(),
                    "--adapter",
                    whole(task),
                    "--data",
                    task.data(temporary),
                    "--batch-size",
                    batch);
            assertThat(result.status()).as(result.err()).isZero();
            evaluations.add(TaskRuns.JSON.readTree(result.out()));
        }
        List<String> lines = Files.readAllLines(whole(task).resolve("metrics.jsonl"));
        ObjectNode atOnce = (ObjectNode) TaskRuns.JSON.readTree(lines.get(lines.size() - 1));

        assertThat(evaluations.get(0).get("examples").asInt()).isEqualTo(TaskRuns.ROWS);
        assertThat(evaluations.get(0).get("loss").asDouble()).isPositive();
        same(evaluations.get(0), evaluations.get(1), "");
        same(evaluations.get(0), atOnce.remove(List.of("evaluation", "step")), "");
    }

    private static void same(JsonNode expected, JsonNode actual, String where) {
        assertThat(actual.getNodeType()).as(where).isEqualTo(expected.getNodeType());
        if (expected.isNumber()) {
            assertThat(actual.asDouble())
                    .as(where)
                    .isCloseTo(expected.asDouble(), within(TOLERANCE * Math.max(1, Math.abs(expected.asDouble()))));
        } else if (expected.isValueNode()) {
            assertThat(actual).as(where).isEqualTo(expected);
        } else if (expected.isArray()) {
            assertThat(actual).hasSameSizeAs(expected);
            for (int i = 0; i < expected.size(); i++) {
                same(expected.get(i), actual.get(i), where + "[" + i + "]");
            }
        } else {
            assertThat(actual.properties())
                    .extracting(Map.Entry::getKey)
                    .containsExactlyElementsOf(expected.properties().stream()
                            .map(Map.Entry::getKey)
                            .toList());
            expected.properties().forEach(field -> same(field.getValue(), actual.get(field.getKey()), field.getKey()));
        }
    }

    /** A text is told apart from the others of its batch: what is accumulated is not a larger batch, and that is said. */
    @Test
    void accumulatedNegativesAreOfTheirOwnBatchAndThatIsSaid() throws IOException {
        TaskRuns pairs = TaskRuns.pairs();
        Path whole = whole(pairs);
        Cli.Result result =
                pairs.train(temporary, "parts", "training.batch_size=4", "training.gradient_accumulation=2");

        assertThat(result.status()).isZero();
        assertThat(result.out())
                .contains(
                        "note: each row's loss sees the other rows of its batch: gradient_accumulation 2 is not the same"
                                + " as a larger batch_size here");
        assertThat(TaskRuns.steps(temporary.resolve("parts")).get(0).get("loss").asDouble())
                .as("fewer to tell apart")
                .isLessThan(TaskRuns.steps(whole).get(0).get("loss").asDouble() - 0.1);
    }

    /** Eight pairs: one would be alone behind the seven, with nothing to be told apart from and a loss of 0. */
    @Test
    void aPairThatWouldBeAloneIsLeftOutOfItsEpochAndThatIsSaid() throws IOException {
        Cli.Result result = TaskRuns.pairs().train(temporary, "run", "training.batch_size=7");

        String note =
                "1 of 8 rows is left out of each epoch: training.batch_size 7 would leave it alone in the last batch,"
                        + " and its loss needs other rows";
        assertThat(result.out()).contains("note: " + note);
        JsonNode run = TaskRuns.JSON.readTree(temporary.resolve("run/run.json").toFile());
        assertThat(run.path("notes")).extracting(JsonNode::asText).contains(note);
        List<JsonNode> steps = TaskRuns.steps(temporary.resolve("run"));
        assertThat(run.path("total_steps").asInt()).isEqualTo(2).isEqualTo(steps.size());
        assertThat(steps)
                .allSatisfy(step -> assertThat(step.get("loss").asDouble()).isPositive());
    }

    @Test
    void negativesOfABatchOfOneAreRefused() throws IOException {
        Cli.Result result = TaskRuns.pairs().train(temporary, "run", "training.batch_size=1");

        assertThat(result.status()).isEqualTo(2);
        assertThat(result.err()).startsWith("peft4j: training.batch_size must be at least 2");
        assertThat(TaskRuns.pairs()
                        .train(temporary, "run", "training.batch_size=null", "training.batch_tokens=90")
                        .err())
                .startsWith("peft4j: training.batch_tokens must be at least 96, four texts of task.max_length");
        assertThat(temporary.resolve("run")).doesNotExist();
    }
}
