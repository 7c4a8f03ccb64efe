package org.peft4j.train;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.RunConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.spi.Methods;
import org.peft4j.run.RunConfigFile;

/** A run that goes on from an adapter: its method's settings are the adapter's, whatever the run file says. */
final class StartingAdapter {
    /** An adapter names the head and what else it keeps by itself; a fresh one's first values do not matter any more. */
    private static final Set<String> NOT_OF_INTEREST =
            Set.of("modules_to_save", "init", "eva", "init_text", "init_tokens");

    private StartingAdapter() {}

    /**
     * Compares the settings of the run with those of the adapter.
     *
     * @return a sentence for each setting that the run left at its default and the adapter has otherwise
     * @throws ConfigException if the run asks for something that the adapter does not have
     */
    static List<String> differences(RunConfig config, MethodConfig adapter) {
        Map<String, @Nullable Object> wanted = RunConfigFile.methodMap(config.chosenMethod());
        Map<String, @Nullable Object> has = RunConfigFile.methodMap(adapter);
        Map<String, @Nullable Object> usual =
                RunConfigFile.methodMap(Methods.of(adapter).defaults());
        List<String> notes = new ArrayList<>();
        wanted.forEach((key, value) -> {
            if (isAsWanted(value, has.get(key))) {
                return;
            }
            if (!Objects.equals(value, usual.get(key))) {
                throw new ConfigException("method." + key + " is " + value + ", but the adapter " + config.adapter()
                        + " has " + key + ": " + has.get(key) + ", which a run that goes on from it keeps; leave method"
                        + " out, or train without an adapter to start from");
            }
            if (NOT_OF_INTEREST.contains(key)) {
                return;
            }
            notes.add("the adapter has " + key + ": " + has.get(key) + "; method." + key + " (" + value
                    + ") does not apply to a run that goes on from an adapter");
        });
        return notes;
    }

    /** Whether the adapter has what is wanted; of a list it may have more. */
    private static boolean isAsWanted(@Nullable Object wanted, @Nullable Object has) {
        return Objects.equals(wanted, has)
                || wanted instanceof List<?> some && has instanceof List<?> all && all.containsAll(some);
    }
}
