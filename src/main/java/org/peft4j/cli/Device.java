package org.peft4j.cli;

import java.util.List;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Where to compute. The processor is the only device so far; the option is there so that scripts can name it. */
enum Device {
    CPU;

    /** Reads {@code cpu}. */
    static final class Converter implements ITypeConverter<Device> {
        @Override
        public Device convert(String value) {
            if (value.equals("cpu")) {
                return CPU;
            }
            throw new TypeConversionException(
                    "there is no device '" + value + "'; this version of peft4j computes on: cpu");
        }
    }

    /** For help and completion. */
    static final class Names extends java.util.ArrayList<String> {
        Names() {
            super(List.of("cpu"));
        }
    }
}
