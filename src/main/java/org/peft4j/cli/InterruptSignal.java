package org.peft4j.cli;

import java.lang.reflect.Proxy;
import org.jspecify.annotations.Nullable;

/**
 * Hears Ctrl-C in place of what Java does then. Only {@code sun.misc.Signal} can; where it is missing, all stays as it was.
 * {@link #close} gives Ctrl-C back to who heard it before.
 */
final class InterruptSignal implements AutoCloseable {
    private final @Nullable Object former;

    private InterruptSignal(@Nullable Object former) {
        this.former = former;
    }

    /** @param heard what is done then, on a thread of Java's own */
    static InterruptSignal to(Runnable heard) {
        try {
            return new InterruptSignal(handle(Proxy.newProxyInstance(
                    InterruptSignal.class.getClassLoader(),
                    new Class<?>[] {Class.forName("sun.misc.SignalHandler")},
                    (proxy, method, arguments) -> {
                        heard.run();
                        return null;
                    })));
        } catch (ReflectiveOperationException | IllegalArgumentException e) {
            return new InterruptSignal(null); // then not
        }
    }

    /** Returns the former handler. */
    private static Object handle(Object handler) throws ReflectiveOperationException {
        Class<?> signal = Class.forName("sun.misc.Signal");
        return signal.getMethod("handle", signal, Class.forName("sun.misc.SignalHandler"))
                .invoke(null, signal.getConstructor(String.class).newInstance("INT"), handler);
    }

    @Override
    public void close() {
        if (former != null) {
            try {
                handle(former);
            } catch (ReflectiveOperationException | IllegalArgumentException e) {
                throw new AssertionError("a handler that was there cannot be set again", e);
            }
        }
    }
}
