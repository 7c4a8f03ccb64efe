package org.peft4j.cli;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.ModelConfig;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** {@code --device}, of commands that compute: {@code model.device} of run files. */
final class DeviceOption {
    @Option(
            names = "--device",
            paramLabel = "D",
            converter = Converter.class,
            completionCandidates = Names.class,
            description =
                    "Where to compute: cpu, cuda:N, or auto, the first card that can be used, else the cpu (default: the run"
                            + " file's, else auto).")
    private @Nullable String device;

    /** The name that was given, or null. */
    @Nullable
    String given() {
        return device;
    }

    /** The name that counts where there is no run file. */
    String value() {
        return device == null ? ModelConfig.AUTO : device;
    }

    /** Reads a name. */
    static final class Converter implements ITypeConverter<String> {
        @Override
        public String convert(String value) {
            try {
                ModelConfig.checkDevice(value);
                return value;
            } catch (IllegalArgumentException e) {
                throw new TypeConversionException(String.valueOf(e.getMessage()));
            }
        }
    }

    /** For help and completion. */
    static final class Names extends ArrayList<String> {
        Names() {
            super(List.of("cpu", "cuda:0", ModelConfig.AUTO));
        }
    }
}
