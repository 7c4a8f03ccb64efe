package org.peft4j.cli;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.peft4j.TextClassifier;
import org.peft4j.io.AtomicFiles;
import org.peft4j.io.Streams;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j predict}. */
@Command(
        name = "predict",
        description = {
            "Classifies rows. Writes JSONL: each row as it is, plus \"label\" (the class) and \"logits\" (one number for"
                    + " each class). A row's own \"label\" or \"logits\" is kept as \"input_label\" or \"input_logits\".",
            "",
            "The output file is whole or absent; a former one is replaced. Numbers that JSON does not have (NaN and Infinity in"
                    + " a row) are written as null."
        },
        footer = {
            "  peft4j predict --model models/all-MiniLM-L6-v2 --adapter runs/spam-lora \\",
            "      --data src/examples/data/spamassassin/test.jsonl --out predictions.jsonl",
            "  peft4j predict --model models/merged --data rows.csv --text body --out -"
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class PredictCommand implements Callable<Integer> {
    @ParentCommand
    private Main main;

    @Mixin
    private ClassifierOptions classifier;

    @Option(
            names = "--data",
            paramLabel = "FILE",
            required = true,
            description = "Rows with a text: .jsonl, .csv or .tsv; - is standard input.")
    private Path data;

    @Option(
            names = "--out",
            paramLabel = "FILE",
            required = true,
            description = "The JSONL file to write; - is standard output.")
    private Path out;

    @Option(
            names = "--text",
            paramLabel = "COLUMN",
            description = "The column with the text (default: the one trained on, else text).")
    private @Nullable String text;

    private final Map<String, Long> counts = new LinkedHashMap<>();
    private long cut;

    @Override
    @SuppressWarnings("try") // stop is there to be closed
    public Integer call() throws IOException {
        Inputs.isData(data, "--data");
        if (!Streams.isStandardOutput(out)) {
            Inputs.canBecomeFile(out, "--out");
            Inputs.isNot(out, "--out", data);
        }
        try (CleanStop stop = new CleanStop();
                TextClassifier opened = classifier.open(main.err())) {
            opened.labels().forEach(label -> counts.put(label, 0L));
            if (Streams.isStandardOutput(out)) {
                write(opened, new Checked(main.out()));
            } else if (Streams.isPipe(out)) {
                try (OutputStream pipe = Files.newOutputStream(out)) {
                    write(opened, pipe);
                }
            } else {
                AtomicFiles.write(out, file -> write(opened, Channels.newOutputStream(file)));
            }
            ClassifierOptions.tellCut(cut, rows(), opened, main.err());
        }
        main.err().println(rows() + " rows: " + counts);
        return 0;
    }

    private long rows() {
        return counts.values().stream().mapToLong(Long::longValue).sum();
    }

    /** Writes to a stream that is not ours to close. */
    private void write(TextClassifier opened, OutputStream stream) throws IOException {
        OutputStream to = new BufferedOutputStream(stream, 1 << 16);
        try {
            opened.predict(data, text, (row, prediction) -> {
                try {
                    if (Thread.currentThread().isInterrupted()) { // the stream would notice when its buffer is full
                        throw new InterruptedIOException();
                    }
                    to.write((JsonOutput.line(line(row, prediction)) + "\n").getBytes(StandardCharsets.UTF_8));
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
            });
            to.flush();
        } catch (UncheckedIOException e) {
            throw e.getCause();
        }
    }

    private Map<String, @Nullable Object> line(
            Map<String, @Nullable Object> row, TextClassifier.Prediction prediction) {
        Map<String, @Nullable Object> line = new LinkedHashMap<>();
        row.forEach(
                (key, value) -> line.put(key.equals("label") || key.equals("logits") ? free(row, key) : key, value));
        line.put("label", prediction.label());
        line.put("logits", prediction.logits());
        counts.merge(prediction.label(), 1L, Long::sum);
        cut += prediction.cut() ? 1 : 0;
        return line;
    }

    /** A print stream that tells of errors at once: who reads it may have gone ({@code | head}). */
    private static final class Checked extends OutputStream {
        private final PrintStream out;

        Checked(PrintStream out) {
            this.out = out;
        }

        @Override
        public void write(int b) throws IOException {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) throws IOException {
            out.write(bytes, offset, length);
            if (out.checkError()) {
                throw new IOException("standard output could not be written; is its reader gone?");
            }
        }
    }

    private static String free(Map<String, ?> row, String key) {
        String name = "input_" + key;
        while (row.containsKey(name)) {
            name = "input_" + name;
        }
        return name;
    }
}
