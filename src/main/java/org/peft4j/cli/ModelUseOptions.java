package org.peft4j.cli;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.BaseModel;
import org.peft4j.LoadedAdapter;
import org.peft4j.config.ModelConfig;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The options of commands that put texts through a model. */
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class ModelUseOptions {
    @Option(names = "--model", paramLabel = "DIR", required = true, description = "The base model's directory.")
    private Path model;

    @Mixin
    private AdapterOptions adapters;

    @Option(
            names = "--max-length",
            paramLabel = "N",
            description =
                    "Most tokens of a text; longer ones are cut (default: what the adapter was trained with, else as many"
                            + " as the model takes).")
    private @Nullable Integer maxLength;

    @Option(
            names = "--batch-size",
            paramLabel = "N",
            defaultValue = "16",
            description = "Texts that go through the model at once (default ${DEFAULT-VALUE}).")
    private int batchSize;

    @Mixin
    private DtypeOption dtype;

    @Option(
            names = "--labels",
            paramLabel = "A,B,…",
            split = ",",
            hideParamSyntax = true,
            description =
                    "Names of the classes in the order of the outputs (default: those saved with the adapter, else"
                            + " those of the model's config).")
    private List<String> labels = List.of();

    @Mixin
    private TaskIdOption taskId;

    @Mixin
    private DeviceOption device;

    /**
     * Loads the model, with its adapter; what the user should know about it goes to {@code err}.
     *
     * @param task name of the task, or null for the adapter's
     * @param more settings of the task, of which the ones that are null are not said
     */
    Opened open(@Nullable String task, Map<String, @Nullable Object> more, PrintStream err) throws IOException {
        if (maxLength != null && maxLength < 1) {
            throw new IllegalArgumentException("--max-length must be at least 1, got " + maxLength);
        }
        if (batchSize < 1) {
            throw new IllegalArgumentException("--batch-size must be at least 1, got " + batchSize);
        }
        Inputs.exists(model, "--model");
        adapters.check();
        LoadedAdapter.Options options = LoadedAdapter.Options.defaults().withTask(task);
        options = maxLength == null ? options : options.withMaxLength(maxLength);
        options = labels.isEmpty() ? options : options.withLabels(labels);
        options = taskId.addTo(options);
        for (Map.Entry<String, @Nullable Object> setting : more.entrySet()) {
            options = setting.getValue() == null ? options : options.with(setting.getKey(), setting.getValue());
        }
        BaseModel base = BaseModel.open(
                ModelConfig.of(model).withDtype(dtype.value()).withDevice(device.value()), adapters.first());
        try {
            base.notes().forEach(note -> err.println("note: " + note));
            return adapters.load(base, options, note -> err.println("note: " + note));
        } catch (IOException | RuntimeException e) {
            base.close();
            throw e;
        }
    }

    /** Rows that go through the model at once. */
    int batchSize() {
        return batchSize;
    }

    /** Says that texts were not read to their end, if any were. */
    static void tellCut(long cut, long of, int maxLength, PrintStream err) {
        if (cut > 0) {
            err.printf(
                    Locale.ROOT, "note: %,d of %,d texts were cut to %,d tokens (--max-length)%n", cut, of, maxLength);
        }
    }
}
