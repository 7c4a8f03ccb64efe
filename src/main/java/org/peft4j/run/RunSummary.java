package org.peft4j.run;

import java.time.Instant;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.RunConfig;

/**
 * What is known when training begins.
 *
 * @param config every setting in force: the method is that of the adapter where the run goes on from one
 * @param rows what is trained on
 * @param totalSteps optimiser steps of the whole run
 * @param parameters how many numbers there are
 * @param environment where and when it runs
 * @param notes what a user should know: settings that do not apply, doubtful files
 */
public record RunSummary(
        RunConfig config,
        Rows rows,
        long totalSteps,
        Parameters parameters,
        Environment environment,
        List<String> notes) {
    /**
     * What is trained on.
     *
     * @param examples texts to train on
     * @param cut how many of them were longer than the limit of tokens
     * @param labels the classes in the order of the outputs, and how many texts to train on have each
     * @param texts how rows of a language model became texts; null for other tasks
     */
    public record Rows(
            long examples,
            long cut,
            Map<String, Long> labels,
            @Nullable Texts texts) {
        public Rows {
            labels = Collections.unmodifiableMap(new LinkedHashMap<>(labels));
        }
    }

    /**
     * How rows of a language model became texts.
     *
     * @param forms how many rows had which form: text, prompt, messages, conversations, instruction
     * @param template what made texts of conversations: where the chat template stands; null where nothing had to
     * @param full how full packs are, their tokens over their room, from 0 to 1; null where rows are not packed
     */
    public record Texts(
            Map<String, Long> forms,
            @Nullable String template,
            @Nullable Double full) {
        public Texts {
            forms = Collections.unmodifiableMap(new LinkedHashMap<>(forms));
        }
    }

    /**
     * How many numbers there are.
     *
     * @param trained those that are trained
     * @param model those of the whole model, adapter included
     */
    public record Parameters(long trained, long model) {}

    /**
     * Where and when it runs.
     *
     * @param started when it began
     * @param compute how it is computed: device, type, kernels
     * @param versions of this program and the libraries that matter to the result
     */
    public record Environment(Instant started, String compute, Map<String, String> versions) {
        public Environment {
            versions = Map.copyOf(versions);
        }
    }

    public RunSummary {
        notes = List.copyOf(notes);
    }
}
