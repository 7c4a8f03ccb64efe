package org.peft4j.cli;

import java.util.List;
import org.peft4j.config.ModelConfig;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Where to compute, as {@code model.device} in run files. The processor is the only device so far; the option is there so that scripts can name it. */
enum Device {
    CPU;

    /** Reads a name. */
    static final class Converter implements ITypeConverter<Device> {
        @Override
        public Device convert(String value) {
            try {
                ModelConfig.checkDevice(value);
                return CPU;
            } catch (IllegalArgumentException e) {
                throw new TypeConversionException(String.valueOf(e.getMessage()));
            }
        }
    }

    /** For help and completion. */
    static final class Names extends java.util.ArrayList<String> {
        Names() {
            super(List.of("cpu", ModelConfig.AUTO));
        }
    }
}
