package org.peft4j.ops;

import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Arrays;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.peft4j.error.DeviceException;

/**
 * Native exceptions as ours. The caller's mistake is only what our own checks of arguments found: their messages begin with
 * the operation's name and a colon ({@code native/checks.h}). All else, libtorch's own words too, is a failure of the
 * device or of us.
 */
final class NativeFailure {
    /** Beside the operations: the constructor of a weight, the switch between kernels. */
    private static final Stream<String> OTHERS = Stream.of("Weight", "peft4j.kernels");

    private static final Set<String> OURS = Stream.concat(
                    Arrays.stream(PeftNative.class.getDeclaredMethods())
                            .filter(method -> Modifier.isNative(method.getModifiers()))
                            .map(Method::getName),
                    OTHERS)
            .collect(Collectors.toUnmodifiableSet());

    private static final String SIZE = "([0-9][0-9.]* ?[KMGT]?i?B(?:ytes)?)";
    private static final Pattern WANTED = Pattern.compile("(?i)tried to allocate " + SIZE);
    private static final Pattern OF_CARD =
            Pattern.compile("GPU (\\d+) has a total capacity of " + SIZE + " of which " + SIZE + " is free");

    private NativeFailure() {}

    /** What is thrown in place of a native exception; others are handed back as they are. */
    static RuntimeException of(RuntimeException e) {
        if (e.getClass() != RuntimeException.class) {
            return e; // JavaCPP gives C++ exceptions this class; a subclass is Java's own
        }
        String message = String.valueOf(e.getMessage());
        int stack = message.indexOf("\nException raised from");
        String first = (stack < 0 ? message : message.substring(0, stack)).strip();
        if (isOutOfMemory(first)) {
            return new DeviceException(outOfMemory(first), e);
        }
        int colon = first.indexOf(": ");
        return colon > 0 && OURS.contains(first.substring(0, colon))
                ? new IllegalArgumentException(first, e)
                : new DeviceException("a native operation failed: " + first, e);
    }

    private static boolean isOutOfMemory(String message) {
        return message.startsWith("out of memory")
                || message.contains("bad_alloc")
                || message.contains("out of memory")
                || message.contains("can't allocate memory");
    }

    /** Ours says the bytes itself; of libtorch's the bytes are kept, not the advice about its own settings. */
    private static String outOfMemory(String message) {
        String what = message;
        if (!message.startsWith("out of memory")) {
            Matcher wanted = WANTED.matcher(message);
            Matcher card = OF_CARD.matcher(message);
            what = "out of memory" + (wanted.find() ? ": wanted " + wanted.group(1) : "")
                    + (card.find()
                            ? ", " + card.group(3) + " free of " + card.group(2) + " on cuda:" + card.group(1)
                            : "");
        }
        return what + "; a smaller batch_size or max_length needs less, and in training checkpointing: block";
    }
}
