package org.peft4j.cli;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.Chat;
import org.peft4j.LoadedAdapter;
import org.peft4j.TextGenerator;
import org.peft4j.error.ConfigException;
import org.peft4j.host.UserPath;
import org.peft4j.io.AtomicFiles;
import org.peft4j.io.NearestName;
import org.peft4j.lifetime.Interruption;

/**
 * A talk by lines: texts and commands in, answers out. What is wrong with a line is told, and the talk goes on as it was before
 * that line.
 */
final class Talk {
    /** Names the model without an adapter. */
    static final String PLAIN = "none";

    private static final List<String> COMMANDS = List.of("help", "reset", "system", "adapter", "undo", "save", "exit");

    private static final String HELP = """
            /reset           begin anew; the system's message stays
            /undo            take the last question and its answer back
            /system TEXT     another message of the system; without a text none
            /adapter NAME    another adapter answers; none: the model without one; without a name: what there is
            /save FILE       write the talk as a row for training: JSONL with messages
            /exit            end, as the end of the input does; Ctrl-C stops an answer that comes
            A blank before it makes a text of a line that begins with /.""";

    /** Opens the model without an adapter. */
    @FunctionalInterface
    interface Plain {
        LoadedAdapter open() throws IOException;
    }

    private final Main main;
    private final Map<String, LoadedAdapter> adapters;
    private final Plain plain;
    private final TextGenerator.Options options;
    private Chat chat;
    private @Nullable LoadedAdapter opened;

    /**
     * @param adapters by name
     * @param options of every answer
     */
    Talk(Main main, Chat chat, Map<String, LoadedAdapter> adapters, Plain plain, TextGenerator.Options options) {
        this.main = main;
        this.chat = chat;
        this.adapters = adapters;
        this.plain = plain;
        this.options = options;
        opened = adapters.isEmpty() ? chat.adapter() : null;
    }

    /** Talks until the lines end, or one says so. */
    void run(BufferedReader lines) throws IOException {
        if (main.isTerminal()) {
            tell("/help lists commands, /exit ends");
        }
        for (String line = next(lines); line != null; line = next(lines)) {
            if (line.isBlank()) {
                continue;
            }
            if (line.stripTrailing().equals("/exit")) {
                return;
            }
            try {
                if (line.startsWith("/")) {
                    command(line.substring(1).strip());
                } else {
                    say(line.strip());
                }
            } catch (IOException | RuntimeException e) {
                if (Interruption.caused(e)) {
                    throw e;
                }
                Failure.report(e, main.err(), main.showsStackTraces());
            }
            if (main.out().checkError()) {
                throw new IOException(RowsOutput.NOT_WRITTEN);
            }
        }
        if (main.isTerminal()) {
            main.out().println();
        }
    }

    private @Nullable String next(BufferedReader lines) throws IOException {
        if (main.isTerminal()) {
            main.out().print("> ");
            main.out().flush();
        }
        return lines.readLine();
    }

    private void tell(String text) {
        main.err().println(text);
    }

    @SuppressWarnings("try") // stop is there to be closed
    private void say(String text) {
        Printer printer = new Printer();
        try (InterruptSignal stop = main.isTerminal() ? InterruptSignal.to(printer::stop) : null) {
            TextGenerator.Continuation said = chat.say(text, options, printer);
            printer.end();
            if (!said.complete()) {
                tell(String.format(
                        Locale.ROOT,
                        "note: the answer was cut after %,d tokens (--max-new-tokens, or the model's positions)",
                        said.ids().size()));
            }
        } catch (Stopped e) {
            printer.end();
            tell("stopped; the turn is taken back");
        } catch (RuntimeException e) {
            printer.endIfBegun();
            throw e;
        }
    }

    /** Somebody has read enough of an answer. */
    private static final class Stopped extends RuntimeException {
        Stopped() {
            super(null, null, false, false);
        }
    }

    /** An answer as it comes, without blanks before it; Ctrl-C stops it with its next piece, a second one the process. */
    private final class Printer implements TextGenerator.Listener {
        private boolean begun;
        private volatile boolean stopped;

        void stop() {
            if (stopped) {
                Runtime.getRuntime().halt(Failure.INTERRUPTED);
            }
            stopped = true;
        }

        @Override
        public void text(int prompt, String piece) {
            if (stopped) {
                throw new Stopped();
            }
            String shown = begun ? piece : piece.stripLeading();
            begun = begun || !shown.isEmpty();
            main.out().print(shown);
            main.out().flush();
        }

        @Override
        public void note(String text) {
            tell("note: " + text);
        }

        void end() {
            main.out().println();
        }

        void endIfBegun() {
            if (begun) {
                end();
            }
        }
    }

    private void command(String line) throws IOException {
        String[] words = line.split("\\s+", 2);
        String rest = words.length == 2 ? words[1] : "";
        switch (words[0]) {
            case "help" -> tell(HELP);
            case "reset" -> {
                chat.reset();
                tell("the talk begins anew");
            }
            case "undo" -> tell(chat.undo() ? "the last turn is taken back" : "there is no turn to take back");
            case "system" -> {
                chat = chat.withSystem(rest.isEmpty() ? null : rest);
                tell(rest.isEmpty() ? "no message of the system" : "the system's message is set");
            }
            case "adapter" -> adapter(rest);
            case "save" -> save(rest);
            default ->
                throw new ConfigException("there is no command '/" + words[0] + "'"
                        + NearestName.hint(words[0], COMMANDS) + "; /help lists them");
        }
    }

    private void adapter(String name) throws IOException {
        if (name.isEmpty()) {
            List<String> names = new ArrayList<>(adapters.keySet());
            names.add(PLAIN);
            names.forEach(each -> tell((each.equals(active()) ? "* " : "  ") + each));
            return;
        }
        LoadedAdapter other = name.equals(PLAIN) ? opened() : adapters.get(name);
        if (other == null) {
            throw new ConfigException("there is no adapter '" + name + "'" + NearestName.hint(name, adapters.keySet())
                    + "; /adapter lists what there is");
        }
        chat.use(other);
        tell(name.equals(PLAIN) ? "the model without an adapter answers" : "adapter '" + name + "' answers");
    }

    private String active() {
        return chat.adapter() == opened ? PLAIN : chat.adapter().name();
    }

    private LoadedAdapter opened() throws IOException {
        if (opened == null) {
            opened = plain.open();
        }
        return opened;
    }

    private void save(String name) throws IOException {
        if (name.isEmpty()) {
            throw new ConfigException("/save needs a file: /save talk.jsonl");
        }
        if (chat.messages().stream().noneMatch(message -> "assistant".equals(message.get("role")))) {
            throw new ConfigException("/save: nothing was said yet");
        }
        Path file = UserPath.of(name);
        Inputs.canBecomeFile(file, "/save");
        List<Map<String, String>> messages = chat.messages();
        AtomicFiles.writeString(file, JsonOutput.line(Map.of("messages", messages)) + "\n");
        tell("saved " + messages.size() + " messages to " + file);
    }
}
