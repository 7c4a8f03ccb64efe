package org.peft4j.task;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.Fixtures;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;

/** What a label means, in every combination of who says something about it. The model has a head of two outputs. */
class OutputLabelsTest {
    @TempDir
    Path temporary;

    private final List<String> notes = new ArrayList<>();

    private ModelDirectory model(@Nullable Object id2label) throws IOException {
        Path copy = Files.createDirectories(temporary.resolve("model"));
        Map<String, @Nullable Object> config =
                new LinkedHashMap<>(Json.readObject(Fixtures.TINY_BERT.resolve("config.json")));
        config.put("id2label", id2label);
        Files.writeString(copy.resolve("config.json"), Json.write(config));
        Files.copy(Fixtures.TINY_BERT.resolve("model.safetensors"), copy.resolve("model.safetensors"));
        return ModelDirectory.open(copy);
    }

    private static Map<String, String> names(String... names) {
        Map<String, String> map = new LinkedHashMap<>();
        for (int i = names.length - 1; i >= 0; i--) { // the order of the file does not count
            map.put(String.valueOf(i), names[i]);
        }
        return map;
    }

    /** How often rows have each label. */
    private static Map<String, Long> rows(String... labels) {
        Map<String, Long> counts = new LinkedHashMap<>();
        for (String label : labels) {
            counts.merge(label, 1L, Long::sum);
        }
        return counts;
    }

    private static AdapterFile adapter(int outputs) {
        String name = "base_model.model.classifier.weight";
        TensorData head = new TensorData(
                name,
                org.peft4j.io.safetensors.ElementType.F32,
                List.of((long) outputs, 32L),
                java.nio.ByteBuffer.allocate(outputs * 32 * 4));
        return new AdapterFile(Path.of("start"), Map.of(), Map.of(name, head));
    }

    private static OutputLabels outputs(ModelDirectory model, @Nullable AdapterFile adapter, List<String> saved) {
        return new OutputLabels(model, adapter, saved, "classifier");
    }

    private List<String> trained(
            ModelDirectory model,
            @Nullable AdapterFile adapter,
            List<String> settings,
            List<String> chosen,
            Map<String, Long> rows) {
        return outputs(model, adapter, settings)
                .forTraining(chosen, false, Path.of("rows.csv"), rows, notes)
                .names();
    }

    @Test
    void callersLabelsComeFirst() throws IOException {
        assertThat(trained(model(names("x", "y")), null, List.of(), List.of("b", "a"), rows("a", "b")))
                .containsExactly("b", "a");
    }

    @Test
    void modelsNamesComeBeforeTheDatas() throws IOException {
        assertThat(trained(model(names("spam", "ham")), null, List.of(), List.of(), rows("ham", "spam")))
                .containsExactly("spam", "ham");
    }

    @Test
    void modelsNamesCountAlsoWhereTheDataHaveOnlySomeOfThem() throws IOException {
        assertThat(trained(model(names("spam", "ham")), null, List.of(), List.of(), rows("ham")))
                .containsExactly("spam", "ham");
    }

    @Test
    void modelThatNamesOtherClassesThanTheDataIsRefusedWithBothLists() throws IOException {
        ModelDirectory model = model(names("positive", "negative"));

        assertThatThrownBy(() -> trained(model, null, List.of(), List.of(), rows("ham", "spam")))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll("['positive', 'negative']", "['ham', 'spam']", "task.new_head");
        assertThat(outputs(model, null, List.of())
                        .forTraining(List.of(), true, Path.of("rows.csv"), rows("ham", "spam", "eggs"), notes)
                        .names())
                .containsExactly("eggs", "ham", "spam");
    }

    @Test
    void placeholdersAreNoNames() throws IOException {
        assertThat(trained(model(names("LABEL_0", "LABEL_1")), null, List.of(), List.of(), rows("spam", "ham")))
                .containsExactly("ham", "spam");
    }

    @Test
    void wholeNumbersBelowTheHeadsOutputsAreTheseOutputs() throws IOException {
        assertThat(trained(model(null), null, List.of(), List.of(), rows("1", "1.0")))
                .containsExactly("0", "1");
    }

    @Test
    void numbersOfOutputsAreTakenForTheModelsNamesAndSaidSo() throws IOException {
        assertThat(trained(model(names("ham", "spam")), null, List.of(), List.of(), rows("1", "0")))
                .containsExactly("ham", "spam");
        assertThat(notes).singleElement().asString().contains("['0', '1']", "numbers of outputs", "['ham', 'spam']");
    }

    @Test
    void otherNumberOfLabelsThanOutputsNamesBothAndTheWayOut() throws IOException {
        ModelDirectory model = model(null);

        assertThatThrownBy(() -> trained(model, null, List.of(), List.of(), rows("a", "b", "c")))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll("2 outputs", "3 labels", "task.new_head=true");
        assertThatThrownBy(() -> trained(model, null, List.of(), List.of("a", "b", "c"), rows("a", "b", "c")))
                .hasMessageContainingAll("2 outputs", "3 labels", "task.new_head=true");
    }

    @Test
    void adaptersLabelsAreKeptOrTheRunIsRefused() throws IOException {
        ModelDirectory model = model(names("x", "y"));
        AdapterFile start = adapter(2);

        assertThat(trained(model, start, List.of("good", "bad"), List.of(), rows("bad", "good")))
                .containsExactly("good", "bad");
        assertThat(trained(model, start, List.of("good", "bad"), List.of("good", "bad"), rows("bad")))
                .containsExactly("good", "bad");
        assertThatThrownBy(() -> trained(model, start, List.of("good", "bad"), List.of("bad", "good"), rows("bad")))
                .hasMessageContainingAll("['bad', 'good']", "['good', 'bad']");
        assertThatThrownBy(() -> trained(model, start, List.of("good", "bad"), List.of(), rows("bad", "ugly")))
                .hasMessageContainingAll("['good', 'bad']", "['bad', 'ugly']");
    }

    @Test
    void foreignAdapterTakesTheModelsNamesIfItsHeadHasAsManyOutputs() throws IOException {
        ModelDirectory model = model(names("spam", "ham"));

        assertThat(trained(model, adapter(2), List.of(), List.of(), rows("ham", "spam")))
                .containsExactly("spam", "ham");
        assertThat(notes).isEmpty();
        assertThat(trained(model, adapter(3), List.of(), List.of(), rows("c", "a", "b")))
                .containsExactly("a", "b", "c");
        assertThat(notes).singleElement().asString().contains("['a', 'b', 'c']");
        assertThatThrownBy(() -> trained(model, adapter(3), List.of(), List.of(), rows("a", "b")))
                .hasMessageContainingAll("3 outputs", "2 labels", "without an adapter");
    }

    @Test
    void numbersWithFractionsAreNoClassesUnlessListed() throws IOException {
        ModelDirectory model = model(null);

        assertThatThrownBy(() -> trained(model, null, List.of(), List.of(), rows("0.5", "1.25")))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("regression");
        assertThat(trained(model, null, List.of(), List.of("0.5", "1.25"), rows("0.5", "1.25")))
                .hasSize(2);
    }

    @Test
    void oneLabelAloneIsRefused() throws IOException {
        ModelDirectory model = model(null);

        assertThatThrownBy(() -> trained(model, null, List.of(), List.of(), rows("spam")))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("received only ['spam']");
    }

    @Test
    void usingTakesCallersThenAdaptersThenModelsThenPlaceholders() throws IOException {
        ModelDirectory model = model(names("spam", "ham"));

        assertThat(outputs(model, adapter(2), List.of("a", "b"))
                        .forUse(List.of("x", "y"))
                        .names())
                .containsExactly("x", "y");
        assertThat(outputs(model, adapter(2), List.of("a", "b"))
                        .forUse(List.of())
                        .names())
                .containsExactly("a", "b");
        assertThat(outputs(model, null, List.of()).forUse(List.of()).names()).containsExactly("spam", "ham");
        assertThat(outputs(model, adapter(3), List.of()).forUse(List.of()).names())
                .containsExactly("LABEL_0", "LABEL_1", "LABEL_2");
        assertThatThrownBy(() -> outputs(model, adapter(3), List.of()).forUse(List.of("x", "y")))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll("2 names", "3 outputs");
        assertThatThrownBy(() -> outputs(model, adapter(3), List.of("a", "b")).forUse(List.of()))
                .hasMessageContainingAll("beside the adapter", "2 names", "3 outputs");
    }

    @Test
    void doubtfulNamesOfTheModelNameItsConfig() throws IOException {
        for (Object wrong : List.of(
                Map.of("0", "other", "1", "other"), Map.of("0", "a", "2", "b"), Map.of("zero", "a"), List.of("a"))) {
            ModelDirectory model = model(wrong);
            OutputLabels labels = outputs(model, null, List.of());

            assertThatThrownBy(() -> labels.forUse(List.of()))
                    .isInstanceOf(MalformedFileException.class)
                    .hasMessageContainingAll("config.json", "id2label");
            assertThat(labels.forUse(List.of("a", "b")).names()).containsExactly("a", "b");
            Files.delete(model.directory().resolve("model.safetensors"));
        }
    }
}
