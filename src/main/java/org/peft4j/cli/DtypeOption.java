package org.peft4j.cli;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Locale;
import org.peft4j.config.Dtype;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Option;
import picocli.CommandLine.TypeConversionException;

/** {@code --dtype}, of commands that load a model. */
@SuppressWarnings("NullAway.Init") // picocli sets the field
final class DtypeOption {
    @Option(
            names = "--dtype",
            paramLabel = "T",
            converter = Converter.class,
            completionCandidates = Names.class,
            defaultValue = "float32",
            description = "Form of the weights in memory: ${COMPLETION-CANDIDATES} (default ${DEFAULT-VALUE}).")
    private Dtype dtype;

    Dtype value() {
        return dtype;
    }

    /** As run files write it. */
    String name() {
        return name(dtype);
    }

    /** Reads a type as run files write it: in lower case. */
    static final class Converter implements ITypeConverter<Dtype> {
        @Override
        public Dtype convert(String value) {
            return Arrays.stream(Dtype.values())
                    .filter(dtype -> name(dtype).equals(value))
                    .findFirst()
                    .orElseThrow(() ->
                            new TypeConversionException("must be one of " + new Names() + ", got '" + value + "'"));
        }
    }

    /** For help and completion. */
    static final class Names extends ArrayList<String> {
        Names() {
            super(Arrays.stream(Dtype.values()).map(DtypeOption::name).toList());
        }
    }

    private static String name(Dtype dtype) {
        return dtype.name().toLowerCase(Locale.ROOT);
    }
}
