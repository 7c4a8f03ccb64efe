package org.peft4j.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import picocli.AutoComplete;
import picocli.CommandLine;

/** Help of every command: complete, with examples that are calls we understand. */
class HelpTest {
    /** Every command by its words; a new one is found by itself. */
    static Stream<String> commands() {
        return below("", Main.commandLine(new Main()));
    }

    private static Stream<String> below(String words, CommandLine command) {
        return command.getSubcommands().entrySet().stream()
                .flatMap(entry -> Stream.concat(
                        Stream.of(words + entry.getKey()), below(words + entry.getKey() + " ", entry.getValue())));
    }

    @Test
    void allCommandsAreThere() {
        assertThat(commands())
                .containsExactly(
                        "info",
                        "fetch",
                        "train",
                        "evaluate",
                        "predict",
                        "embed",
                        "score",
                        "generate",
                        "chat",
                        "show",
                        "merge",
                        "convert",
                        "combine",
                        "methods",
                        "bench",
                        "bench kernels",
                        "bench train",
                        "bench generate",
                        "bench methods");
        assertThat(Cli.run("--help").out()).contains("info", "bench", "Exit status: 0 done");
    }

    @ParameterizedTest
    @MethodSource("commands")
    void helpDescribesEveryOptionAndHasExamples(String command) {
        List<String> call = new ArrayList<>(List.of(command.split(" ", -1)));
        call.add("--help");
        Cli.Result result = Cli.run(call.toArray());

        assertThat(result.status()).isZero();
        assertThat(result.err()).isEmpty();
        assertThat(result.out()).startsWith("Usage: peft4j " + command).contains("--stacktrace", "Examples:");
        CommandLine line = find(command);
        line.getCommandSpec()
                .options()
                .forEach(option -> assertThat(option.description())
                        .as(option.longestName())
                        .isNotEmpty());
        assertThat(examples(line)).isNotEmpty();
    }

    @ParameterizedTest
    @MethodSource("commands")
    void examplesAreCallsThatAreUnderstood(String command) {
        for (String example : examples(find(command))) {
            assertThat(example).startsWith("peft4j " + command);
            String[] args = example.replaceFirst("^peft4j ", "").split(" +", -1);
            assertThat(Main.commandLine(new Main()).parseArgs(args).hasSubcommand())
                    .as(example)
                    .isTrue();
        }
    }

    @Test
    void noLineOfHelpIsWiderThanATerminalOfAHundredColumns() {
        assertThat(commands()
                        .flatMap(command -> Cli.run((Object[]) (command + " --help").split(" ", -1))
                                .out()
                                .lines()))
                .allSatisfy(line -> assertThat(line.length()).isLessThanOrEqualTo(100));
    }

    @Test
    void versionIsOneLine() {
        assertThat(Cli.run("--version").out()).matches("peft4j \\S+\\R");
    }

    @Test
    void completionKnowsCommandsOptionsAndValues() {
        String script = AutoComplete.bash("peft4j", Main.commandLine(new Main()));

        assertThat(script).contains("predict", "--max-length", "all-minilm-l6-v2", "bfloat16");
    }

    private static CommandLine find(String words) {
        CommandLine command = Main.commandLine(new Main());
        for (String word : words.split(" ", -1)) {
            command = command.getSubcommands().get(word);
        }
        return command;
    }

    /** The example calls, lines that are continued with a backslash joined, remarks in brackets left out. */
    private static List<String> examples(CommandLine command) {
        String footer =
                String.join("\n", command.getCommandSpec().usageMessage().footer());
        return footer.replaceAll("\\\\\n +", "")
                .lines()
                .map(line -> line.replaceFirst(" +\\(.*\\)$", "").strip())
                .filter(line -> !line.isEmpty())
                .toList();
    }
}
