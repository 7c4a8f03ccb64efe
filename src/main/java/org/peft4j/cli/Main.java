package org.peft4j.cli;

import java.io.Console;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.OutputStreamWriter;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.peft4j.host.UserPath;
import org.peft4j.info.Machine;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;

/**
 * The command line: {@code peft4j <command>}. Results go to standard output, everything else to standard error. Exit
 * status: 0 done, 1 failed while running, 2 the call or a file is wrong, 130 interrupted. An error is one message on
 * standard error; {@code --stacktrace} adds where it came from.
 */
@Command(
        name = "peft4j",
        scope = ScopeType.INHERIT, // help, version, headings; each command has its own description and footer
        mixinStandardHelpOptions = true,
        versionProvider = Main.Version.class,
        description = "Fine-tunes transformer models with small adapters, and uses what it trained.",
        synopsisSubcommandLabel = "COMMAND",
        descriptionHeading = "%n",
        parameterListHeading = "%n",
        optionListHeading = "%nOptions:%n",
        commandListHeading = "%nCommands:%n",
        footerHeading = "%nExamples:%n",
        footer = {
            "  peft4j fetch all-minilm-l6-v2 --out models/all-MiniLM-L6-v2",
            "  peft4j train --config src/examples/spam-lora.yaml",
            "  peft4j train --help",
            "",
            "Exit status: 0 done, 1 failed while running, 2 the call or a file is wrong, 130 interrupted."
        },
        subcommands = {
            InfoCommand.class,
            FetchCommand.class,
            TrainCommand.class,
            EvaluateCommand.class,
            PredictCommand.class,
            EmbedCommand.class,
            ScoreCommand.class,
            GenerateCommand.class,
            ChatCommand.class,
            ShowCommand.class,
            MergeCommand.class,
            ConvertCommand.class,
            CombineCommand.class,
            MethodsCommand.class,
            BenchCommand.class
        })
public final class Main implements Callable<Integer> {
    private final PrintStream out;
    private final PrintStream err;
    private final Charset charset;
    private final boolean terminal;

    @Spec
    private CommandSpec spec;

    @Option(
            names = "--stacktrace",
            scope = ScopeType.INHERIT,
            description = "With an error, also print where in the program it came from.")
    private boolean stacktrace;

    /** For picocli's generator of shell completions. */
    public Main() {
        this(
                stream(FileDescriptor.out, StandardCharsets.UTF_8),
                stream(FileDescriptor.err, StandardCharsets.UTF_8),
                StandardCharsets.UTF_8,
                false);
    }

    @SuppressWarnings("NullAway.Init") // picocli sets spec
    Main(PrintStream out, PrintStream err, Charset charset, boolean terminal) {
        this.out = out;
        this.err = err;
        this.charset = charset;
        this.terminal = terminal;
    }

    /** Ends the process with the command's exit status. */
    public static void main(String[] args) {
        Charset charset = terminalCharset();
        PrintStream out = stream(FileDescriptor.out, charset);
        PrintStream err = stream(FileDescriptor.err, charset);
        System.exit(run(new Main(out, err, charset, ProgressBar.onTerminal()), args));
    }

    private static PrintStream stream(FileDescriptor descriptor, Charset charset) {
        return new PrintStream(new FileOutputStream(descriptor), true, charset);
    }

    /** A terminal has a charset of its own; files and pipes get UTF-8, whatever the locale is: JSON has no other. */
    @SuppressWarnings("SystemConsoleNull")
    private static Charset terminalCharset() {
        Console console = System.console();
        return console != null && ProgressBar.onTerminal() ? console.charset() : StandardCharsets.UTF_8;
    }

    /** Runs a command and returns the exit status. */
    static int run(Main main, String... args) {
        CommandLine commands = commandLine(main);
        try {
            return commands.execute(args);
        } catch (OutOfMemoryError | LinkageError e) { // not swallowed: told, and the process ends
            return Failure.report(e, main.err, main.stacktrace);
        } finally {
            main.out.flush();
            main.err.flush();
        }
    }

    static CommandLine commandLine(Main main) {
        return new CommandLine(main)
                .setOut(new PrintWriter(new OutputStreamWriter(main.out, main.charset), true))
                .setErr(new PrintWriter(new OutputStreamWriter(main.err, main.charset), true))
                .setUsageHelpWidth(100)
                .registerConverter(Path.class, Main::path)
                .setExpandAtFiles(false) // a file may be named @train.jsonl
                .setExecutionExceptionHandler((e, line, parsed) -> Failure.report(e, main.err, main.stacktrace))
                .setParameterExceptionHandler((e, args) -> Failure.report(e, main.err, main.stacktrace));
    }

    private static Path path(String text) {
        try {
            return UserPath.of(text);
        } catch (IllegalArgumentException e) {
            throw new CommandLine.TypeConversionException(e.getMessage());
        }
    }

    /** Without a command: what there is, and that one is missing. */
    @Override
    public Integer call() {
        spec.commandLine().usage(err);
        return CommandLine.ExitCode.USAGE;
    }

    /** Where results go. */
    PrintStream out() {
        return out;
    }

    /** Whether people read the results as they come. */
    boolean isTerminal() {
        return terminal;
    }

    /** Of what is read from and written to the terminal. */
    Charset charset() {
        return charset;
    }

    /** Whether an error also prints where it came from. */
    boolean showsStackTraces() {
        return stacktrace;
    }

    /** Where everything else goes. */
    PrintStream err() {
        return err;
    }

    /** Shows how training goes, on a terminal or in a log. */
    ProgressBar progressBar(int logEvery) {
        return new ProgressBar(out, charset, terminal, logEvery);
    }

    /** The version of the jar. */
    static final class Version implements CommandLine.IVersionProvider {
        @Override
        public String[] getVersion() {
            return new String[] {"peft4j " + Machine.version()};
        }
    }
}
