package org.peft4j.cli;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.peft4j.BaseModel;
import org.peft4j.Chat;
import org.peft4j.LoadedAdapter;
import org.peft4j.TextGenerator;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.ModelConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.host.UserPath;
import org.peft4j.io.Streams;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParentCommand;

/** {@code peft4j chat}. */
@Command(
        name = "chat",
        description = {
            "Talks with a language model, which needs a chat template. Each line that is typed, or comes from a pipe, is a turn;"
                    + " the answer goes to standard output as it comes, everything else to standard error.",
            "",
            "A line that begins with / is a command: /help lists them. The talk ends with /exit or the end of the input.",
            "",
            "An answer ends at the model's end tokens, and where the template ends a turn. Greedy, unless --temperature is"
                    + " above 0 or --generation-config says so."
        },
        footer = {
            "  peft4j chat --model src/examples/data/stories260k --adapter runs/chat-lora",
            "  peft4j chat --model models/Qwen3-0.6B --system Be_brief. --generation-config",
            "  peft4j chat --model models/Qwen3-0.6B --adapter anna=runs/anna --adapter ben=runs/ben"
        })
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class ChatCommand implements Callable<Integer> {
    @ParentCommand
    private Main main;

    @Option(names = "--model", paramLabel = "DIR", required = true, description = "The base model's directory.")
    private Path model;

    @Option(
            names = "--adapter",
            paramLabel = "[NAME=]DIR",
            description = "An adapter's directory, and what it is called (default: the directory's own name). May be"
                    + " repeated: /adapter NAME changes who answers; the first one begins. Without it the model is used as it"
                    + " is.")
    private List<String> adapters = List.of();

    @Option(
            names = "--system",
            paramLabel = "TEXT",
            description = "A message of the system before the talk, where the template takes one.")
    private @Nullable String system;

    @Mixin
    private TemplateOption template;

    @Option(
            names = "--max-length",
            paramLabel = "N",
            description = "Most tokens of the talk before an answer (default: as many as the model takes).")
    private @Nullable Integer maxLength;

    @Mixin
    private TaskIdOption taskId;

    @Mixin
    private DtypeOption dtype;

    @Mixin
    private DeviceOption device;

    @Mixin
    private GenerationOptions generation;

    @Override
    public Integer call() throws IOException {
        if (maxLength != null && maxLength < 1) {
            throw new IllegalArgumentException("--max-length must be at least 1, got " + maxLength);
        }
        generation.check("is not for a talk, which has one answer, as text; peft4j generate has it");
        Inputs.exists(model, "--model");
        Map<String, Path> named = named();
        LoadedAdapter.Options options = options();
        if (named.isEmpty()) {
            Chat.check(model, null, options);
        }
        for (Path adapter : named.values()) {
            Chat.check(model, adapter, options);
        }
        ModelConfig config = ModelConfig.of(model).withDtype(dtype.value()).withDevice(device.value());
        try (BaseModel base = BaseModel.open(
                        config, named.values().stream().findFirst().orElse(null));
                BufferedReader in = new BufferedReader(new InputStreamReader(
                        Streams.open(Path.of("-")), main.charset().newDecoder()))) {
            base.notes().forEach(this::note);
            Map<String, LoadedAdapter> loaded = new LinkedHashMap<>();
            for (Map.Entry<String, Path> adapter : named.entrySet()) {
                LoadedAdapter one = base.load(adapter.getKey(), adapter.getValue(), options);
                one.notes().forEach(this::note);
                loaded.put(adapter.getKey(), one);
            }
            LoadedAdapter first = loaded.isEmpty()
                    ? base.plain(options)
                    : loaded.values().iterator().next();
            if (loaded.isEmpty()) {
                first.notes().forEach(this::note);
            }
            TextGenerator.Options asked = generation.of(TextGenerator.of(first), 1, this::note);
            new Talk(main, Chat.of(first).withSystem(system), loaded, () -> base.plain(plainOptions()), asked).run(in);
        }
        return 0;
    }

    private void note(String text) {
        main.err().println("note: " + text);
    }

    private LoadedAdapter.Options options() {
        return taskId.addTo(plainOptions());
    }

    /** Of the model without an adapter, which has no tasks. */
    private LoadedAdapter.Options plainOptions() {
        LoadedAdapter.Options options = LoadedAdapter.Options.defaults().withTask(CausalLmConfig.TYPE);
        options = maxLength == null ? options : options.withMaxLength(maxLength);
        return template.value() == null ? options : options.with(TemplateOption.SETTING, template.value());
    }

    /** The adapters by name, in the order in which they were given. */
    private Map<String, Path> named() {
        Map<String, Path> named = new LinkedHashMap<>();
        for (String given : adapters) {
            int equals = given.indexOf('=');
            boolean hasName = equals > 0 && !Files.exists(UserPath.of(given)); // a directory's name may have the sign
            Path directory = UserPath.of(hasName ? given.substring(equals + 1) : given);
            Inputs.exists(directory, "--adapter");
            Path last = directory.toAbsolutePath().normalize().getFileName();
            String name = hasName ? given.substring(0, equals) : String.valueOf(last);
            if (name.equals(Talk.PLAIN)) {
                throw new ConfigException("--adapter: '" + Talk.PLAIN + "' is the model without an adapter; give "
                        + given + " another name (NAME=DIR)");
            }
            if (named.putIfAbsent(name, directory) != null) {
                throw new ConfigException(
                        "--adapter: two adapters are called '" + name + "'; give one another name (NAME=DIR)");
            }
        }
        return named;
    }
}
