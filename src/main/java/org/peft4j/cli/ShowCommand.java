package org.peft4j.cli;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.peft4j.LoadedAdapter;
import org.peft4j.RowPreview;
import org.peft4j.config.RunConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.run.RunConfigFile;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j show}. */
@Command(
        name = "show",
        description = {
            "Shows rows as they will be trained. Writes JSONL: \"rendered\" (the text, of a conversation what the chat template"
                    + " makes of it), \"ids\" (its tokens) and \"trained\" (1 where a token carries loss, else 0; null with a"
                    + " \"note\" where that cannot be told). On a terminal, without --out, the tokens as text, those that carry"
                    + " loss in green.",
            "",
            "Rows are whole unless --max-length cuts them; with --config they are what that run trains on."
        },
        footer = {
            "  peft4j show --model models/tiny-llama --data chats.jsonl",
            "  peft4j show --model models/tiny-llama --data chats.jsonl --template chatml.jinja --loss-on last",
            "  peft4j show --config src/examples/shakespeare-lora.yaml --out shown.jsonl"
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class ShowCommand implements Callable<Integer> {
    private static final String GREEN = "\u001b[32m";
    private static final String PLAIN = "\u001b[0m";

    @ParentCommand
    private Main main;

    @Option(names = "--model", paramLabel = "DIR", description = "The model's directory; its weights are not read.")
    private @Nullable Path model;

    @Option(
            names = "--adapter",
            paramLabel = "DIR",
            description = "An adapter's directory, whose settings and chat template count.")
    private @Nullable Path adapter;

    @Option(
            names = "--data",
            paramLabel = "FILE",
            description =
                    "The rows: .jsonl, .csv or .tsv; - is standard input (default: the run file's rows to train on).")
    private @Nullable Path data;

    @Option(
            names = "--config",
            paramLabel = "FILE",
            description = "A run file in place of the options from --model on.")
    private @Nullable Path config;

    @Option(
            names = "--set",
            paramLabel = "KEY=VALUE",
            description = "Overrides a setting of the run file. May be repeated; the last wins.")
    private List<String> overrides = List.of();

    @Option(
            names = "--task",
            paramLabel = "NAME",
            description = "The task (default: the one that the adapter was trained for, else causal-lm).")
    private @Nullable String task;

    @Mixin
    private RowOptions rowOptions;

    @Option(names = "--max-length", paramLabel = "N", description = "Most tokens of a row (default: rows are whole).")
    private @Nullable Integer maxLength;

    @Option(
            names = "--out",
            paramLabel = "FILE",
            description = "The JSONL file to write; - is standard output (default: standard output).")
    private @Nullable Path out;

    @Override
    @SuppressWarnings("try") // stop is there to be closed
    public Integer call() throws IOException {
        RunConfig run = run();
        Path from = data != null
                ? data
                : run == null || run.data() == null ? null : run.data().train();
        if (from == null) {
            throw new ConfigException("give --data, the rows to show");
        }
        Inputs.isData(from, data == null ? "data.train" : "--data");
        if (out != null) {
            RowsOutput.check(out, from);
        }
        try (CleanStop stop = new CleanStop();
                RowPreview preview = run != null ? RowPreview.of(run) : open()) {
            if (out == null && main.isTerminal()) {
                preview.show(from, row -> print(row, main.out()));
            } else {
                RowsOutput.write(
                        out == null ? Path.of("-") : out,
                        main.out(),
                        to -> preview.show(from, row -> to.add(Map.of(), columns(row))));
            }
        }
        return 0;
    }

    private @Nullable RunConfig run() {
        if (config == null) {
            if (model == null) {
                throw new ConfigException("give --model, or --config with a run file");
            }
            if (!overrides.isEmpty()) {
                throw new ConfigException("--set changes settings of a run file: give --config, too");
            }
            return null;
        }
        if (model != null || adapter != null || task != null || !settings().isEmpty()) {
            throw new ConfigException(
                    "--config says all that --model, --adapter, --task, --rows, --template, --loss-on and"
                            + " --max-length do; change its settings by --set");
        }
        RunConfig run = RunConfigFile.read(config, overrides);
        Inputs.exists(run.model().path(), "model");
        Inputs.exists(run.adapter(), "adapter");
        return run;
    }

    private Map<String, @Nullable Object> settings() {
        Map<String, @Nullable Object> settings = rowOptions.settings();
        settings.put("max_length", maxLength);
        settings.values().removeIf(Objects::isNull);
        return settings;
    }

    private RowPreview open() throws IOException {
        Path directory = Objects.requireNonNull(model);
        Inputs.exists(directory, "--model");
        Inputs.exists(adapter, "--adapter");
        LoadedAdapter.Options options = LoadedAdapter.Options.defaults().withTask(task);
        for (Map.Entry<String, @Nullable Object> setting : settings().entrySet()) {
            options = options.with(setting.getKey(), Objects.requireNonNull(setting.getValue()));
        }
        return RowPreview.open(directory, adapter, options);
    }

    private static Map<String, @Nullable Object> columns(RowPreview.Shown row) {
        Map<String, @Nullable Object> columns = new LinkedHashMap<>();
        columns.put("rendered", row.rendered());
        columns.put("ids", row.ids());
        columns.put("trained", row.trained());
        if (row.note() != null) {
            columns.put("note", row.note());
        }
        return columns;
    }

    /** For people. */
    private static void print(RowPreview.Shown row, PrintStream out) {
        List<Integer> trained = row.trained();
        out.println("── " + row.where() + ": " + row.ids().size() + " tokens"
                + (trained == null
                        ? ""
                        : ", " + trained.stream().mapToInt(Integer::intValue).sum() + " of them trained"));
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < row.pieces().size(); i++) {
            boolean green = trained != null && trained.get(i) == 1;
            String piece = visible(row.pieces().get(i));
            text.append(green ? GREEN + piece + PLAIN : piece);
        }
        out.println(text);
        if (row.note() != null) {
            out.println("note: " + row.note());
        }
        out.println();
    }

    /** A row's own control characters are shown, not obeyed. */
    private static String visible(String text) {
        StringBuilder shown = new StringBuilder();
        text.codePoints().forEach(c -> {
            if (c != '\n' && c != '\t' && Character.isISOControl(c)) {
                shown.append(String.format("\\u%04x", c));
            } else {
                shown.appendCodePoint(c);
            }
        });
        return shown.toString();
    }
}
