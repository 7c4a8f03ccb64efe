package org.peft4j.io.yaml;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.error.ConfigException;

class StrictYamlTest {
    public enum Colour {
        DARK_RED,
        BLUE
    }

    public record Inner(int batchSize, double learningRate, boolean shuffle, Map<String, Double> rates) {
        public Inner {
            if (batchSize < 1) {
                throw new IllegalArgumentException("batchSize must be at least 1, got " + batchSize);
            }
        }
    }

    public record Outer(String name, @Nullable Path file, Colour colour, List<String> labels, Inner training) {}

    private static final Outer DEFAULTS =
            new Outer("x", Path.of("f"), Colour.BLUE, List.of("a"), new Inner(16, 5e-4, true, Map.of("head", 1.0)));

    @TempDir
    Path temporary;

    @Test
    void emptyFileGivesTheDefaults() throws IOException {
        assertThat(read("")).isEqualTo(DEFAULTS);
        assertThat(read("# nothing but a comment\n")).isEqualTo(DEFAULTS);
    }

    @Test
    void fileOverlaysDefaultsKeyByKey() throws IOException {
        Outer outer = read("""
                name: y
                colour: dark-red
                labels: [no, 1, true]
                training: {batch_size: 1_000, rates: {lora: 2}}
                """);

        assertThat(outer)
                .isEqualTo(new Outer(
                        "y",
                        Path.of("f"),
                        Colour.DARK_RED,
                        List.of("no", "1", "true"),
                        new Inner(1000, 5e-4, true, Map.of("head", 1.0, "lora", 2.0))));
    }

    @Test
    void optionsOverlayTheFileInOrder() throws IOException {
        Outer outer = read(
                "name: y\ntraining: {batch_size: 2, shuffle: false}",
                "training.batch_size=3",
                "name=z",
                "name=last",
                "training.rates={a: 1}",
                "labels=[p, q]");

        assertThat(outer.name()).isEqualTo("last");
        assertThat(outer.labels()).containsExactly("p", "q");
        assertThat(outer.training()).isEqualTo(new Inner(3, 5e-4, false, Map.of("head", 1.0, "a", 1.0)));
    }

    @ParameterizedTest
    @CsvSource({"5e-4, 0.0005", "1E3, 1000", "1_000.5, 1000.5", ".5, 0.5", "3, 3", "-1.5e+2, -150"})
    void readsDoublesInTheFormsPeopleWrite(String text, double value) throws IOException {
        assertThat(read("training: {learning_rate: " + text + "}").training().learningRate())
                .isEqualTo(value);
    }

    @ParameterizedTest
    @ValueSource(strings = {"fast", ".nan", ".inf", "1e999", "0x10", "[1]", "{a: 1}", "null", "''", "1__0", "true"})
    void refusesWhatIsNoFiniteDouble(String text) {
        assertThatThrownBy(() -> read("training:\n  learning_rate: " + text))
                .isInstanceOf(ConfigException.class)
                .hasMessageStartingWith(
                        "expected a number for 'learning_rate' in training (" + file() + ", line 2), received ");
    }

    @ParameterizedTest
    @ValueSource(strings = {"1.5", "1e3", "3000000000", "x", "99999999999999999999"})
    void refusesWhatIsNoInt(String text) {
        assertThatThrownBy(() -> read("training: {batch_size: " + text + "}"))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("expected a whole number below 2^31 for 'batch_size' in training")
                .hasMessageContaining("received '" + text + "'");
    }

    @Test
    void unknownKeyNamesTheNearestKnownOneAndItsLine() {
        assertThatThrownBy(() -> read("name: y\ntraining:\n  shuffle: true\n  learning_rat: 1\n"))
                .isInstanceOf(ConfigException.class)
                .hasMessage("unknown key 'learning_rat' in training (" + file()
                        + ", line 4); did you mean 'learning_rate'?");
    }

    @Test
    void unknownKeyOfAnOptionNamesTheOption() {
        assertThatThrownBy(() -> read("", "training.zzz=1"))
                .hasMessage(
                        "unknown key 'zzz' in training (--set training.zzz=1); known: batch_size, learning_rate, rates,"
                                + " shuffle");
    }

    @Test
    void unknownEnumValueNamesTheNearest() {
        assertThatThrownBy(() -> read("colour: dark-rde"))
                .hasMessage("expected one of dark-red, blue for 'colour' (" + file()
                        + ", line 1), received 'dark-rde'; did you mean 'dark-red'?");
    }

    @Test
    void refusalOfTheRecordItselfNamesKeyAndLine() {
        assertThatThrownBy(() -> read("name: y\ntraining:\n  shuffle: true\n  batch_size: 0\n"))
                .isInstanceOf(ConfigException.class)
                .hasMessage("batch_size must be at least 1, got 0 in training (" + file() + ", line 4)");
    }

    @Test
    void duplicateKeyIsRefused() {
        assertThatThrownBy(() -> read("name: a\ncolour: blue\nname: b"))
                .hasMessage("duplicate key 'name' (" + file() + ", line 3; first: " + file()
                        + ", line 1); keep one of them");
    }

    @Test
    void nullIsTakenWhereItIsAllowedAndRefusedElsewhere() throws IOException {
        assertThat(read("file: null").file()).isNull();
        assertThat(read("file:").file()).isNull();
        assertThat(read("labels: null").labels()).isEmpty();
        assertThatThrownBy(() -> read("name: null"))
                .hasMessage("expected a text for 'name' (" + file() + ", line 1), received nothing");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "name=null | x",
                "name=~ | x",
            })
    void nullInAnOptionTakesASettingBack(String option, String name) throws IOException {
        assertThat(read("name: y", option).name()).isEqualTo(name);
    }

    /** As from {@code --set name=$NAME} where the shell has no such variable. */
    @Test
    void nothingInAnOptionIsRefused() {
        assertThatThrownBy(() -> read("name: y", "name= "))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll("no value for 'name'", "name=null");
    }

    @Test
    void nullInAnOptionTakesBackWhatWasSaidBefore() throws IOException {
        String text =
                "name: y\nfile: g\nlabels: [p]\ntraining: {batch_size: 2, shuffle: false, rates: {head: 3, lora: 4}}";
        assertThat(read(text, "training.batch_size=null").training())
                .isEqualTo(new Inner(16, 5e-4, false, Map.of("head", 3.0, "lora", 4.0)));
        assertThat(read(text, "training=null").training()).isEqualTo(DEFAULTS.training());
        assertThat(read(text, "training=null", "training.batch_size=3").training())
                .isEqualTo(new Inner(3, 5e-4, true, Map.of("head", 1.0)));
        assertThat(read(text, "training.batch_size=3", "training.batch_size=null", "training.batch_size=5")
                        .training()
                        .batchSize())
                .isEqualTo(5);
        assertThat(read(text, "training.rates=null").training().rates()).isEqualTo(Map.of("head", 1.0));
        assertThat(read(text, "training.rates.lora=null").training().rates()).isEqualTo(Map.of("head", 3.0));
        assertThat(read(text, "labels=null", "file=null"))
                .extracting(Outer::labels, Outer::file)
                .containsExactly(DEFAULTS.labels(), DEFAULTS.file());
    }

    @Test
    void nullInAnOptionIsRefusedWhereThereIsNoDefaultAndForUnknownKeys() throws IOException {
        Files.writeString(file(), "name: y\ncolour: blue\nlabels: [a]\ntraining: {batch_size: 1}");
        assertThatThrownBy(() -> StrictYaml.read(file(), Outer.class, null, List.of("name=null")))
                .isInstanceOf(ConfigException.class)
                .hasMessage("'name' has no default, so it has to be given (--set name=null)");
        assertThatThrownBy(() -> read("name: y", "nam=null")).hasMessageContaining("unknown key 'nam'");
        assertThatThrownBy(() -> read("name: y", "name.x=null")).hasMessageContaining("'name'");
    }

    @Test
    void dashInAnOptionIsAText() throws IOException {
        assertThat(read("", "file=-").file()).isEqualTo(Path.of("-"));
    }

    @Test
    void textThatIsNoPathIsRefused() {
        assertThatThrownBy(() -> read("file: \"a\\0b\""))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll("file (", "is no path", file() + ", line 1");
    }

    @Test
    void missingKeyWithoutDefaultIsNamed() throws IOException {
        Files.writeString(file(), "name: y\ncolour: blue\n");
        assertThatThrownBy(() -> StrictYaml.read(file(), Outer.class, null, List.of()))
                .isInstanceOf(ConfigException.class)
                .hasMessage("missing key 'labels' (" + file() + ", line 1)");
    }

    @Test
    void scalarWhereARecordIsExpectedIsRefused() {
        assertThatThrownBy(() -> read("training: fast"))
                .hasMessage("expected a map with the keys [batch_size, learning_rate, shuffle, rates] for 'training' ("
                        + file() + ", line 1), received 'fast'");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "a: b: c",
                "name: [a",
                "name: &x y\ncolour: *x",
                "name: a\n---\nname: b",
                "\t- x",
                "just text",
                "- a\n- b"
            })
    void brokenOrForbiddenYamlIsAConfigExceptionWithTheFile(String text) {
        assertThatThrownBy(() -> read(text))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(file().toString());
    }

    @Test
    void deepNestingIsRefused() {
        assertThatThrownBy(() -> read("name: " + "[".repeat(200) + "]".repeat(200)))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("more than 32 levels");
    }

    @Test
    void fileThatIsNotUtf8IsRefused() throws IOException {
        Files.write(file(), "name: ä".getBytes(StandardCharsets.ISO_8859_1));
        assertThatThrownBy(() -> StrictYaml.read(file(), Outer.class, DEFAULTS, List.of()))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("line 1: text must be UTF-8, got byte 0xe4");
    }

    @Test
    void fileAboveOneMebibyteIsRefused() throws IOException {
        Files.writeString(file(), "# " + "x".repeat(1 << 20));
        assertThatThrownBy(() -> StrictYaml.read(file(), Outer.class, DEFAULTS, List.of()))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("has more than 1048576 bytes");
    }

    @Test
    void aTildeIsTheHomeDirectoryInFilesAndOptions() throws IOException {
        String home = System.getenv().getOrDefault("HOME", System.getProperty("user.home"));

        assertThat(read("file: ~/runs/one").file()).isEqualTo(Path.of(home, "runs/one"));
        assertThat(read("", "file=~/runs/one").file()).isEqualTo(Path.of(home, "runs/one"));
        assertThatThrownBy(() -> read("file: ~ada/runs"))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll("file (", "spam.yaml, line 1", "'~ada/runs'", "whole path");
    }

    @Test
    void missingFileSaysWhereItWasLookedFor() {
        assertThatThrownBy(() -> StrictYaml.read(Path.of("no/such.yaml"), Outer.class, DEFAULTS, List.of()))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("config file no/such.yaml does not exist (working directory: ");
    }

    @Test
    void directoryInsteadOfAFileIsRefused() {
        assertThatThrownBy(() -> StrictYaml.read(temporary, Outer.class, DEFAULTS, List.of()))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("cannot be read");
    }

    @Test
    void optionWithoutEqualsIsRefused() {
        assertThatThrownBy(() -> read("", "training.batch_size"))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("expected key=value");
    }

    private Path file() {
        return temporary.resolve("spam.yaml");
    }

    private Outer read(String text, String... overrides) throws IOException {
        Files.writeString(file(), text);
        return StrictYaml.read(file(), Outer.class, DEFAULTS, List.of(overrides));
    }
}
