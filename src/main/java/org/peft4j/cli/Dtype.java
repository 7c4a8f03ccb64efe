package org.peft4j.cli;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Locale;
import org.peft4j.config.TrainingConfig;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** {@link TrainingConfig.Dtype} as run files write it: in lower case. */
final class Dtype {
    private Dtype() {}

    /** Reads a name. */
    static final class Converter implements ITypeConverter<TrainingConfig.Dtype> {
        @Override
        public TrainingConfig.Dtype convert(String value) {
            return Arrays.stream(TrainingConfig.Dtype.values())
                    .filter(dtype -> name(dtype).equals(value))
                    .findFirst()
                    .orElseThrow(() ->
                            new TypeConversionException("must be one of " + new Names() + ", got '" + value + "'"));
        }
    }

    /** For help and completion. */
    static final class Names extends ArrayList<String> {
        Names() {
            super(Arrays.stream(TrainingConfig.Dtype.values()).map(Dtype::name).toList());
        }
    }

    static String name(TrainingConfig.Dtype dtype) {
        return dtype.name().toLowerCase(Locale.ROOT);
    }
}
