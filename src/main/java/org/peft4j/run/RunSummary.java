package org.peft4j.run;

import java.time.Instant;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.config.RunConfig;

/**
 * What is known when training begins.
 *
 * @param config every setting in force: the method is that of the adapter where the run goes on from one
 * @param started when it began
 * @param trainExamples texts to train on
 * @param trainCut how many of them were longer than the limit of tokens
 * @param labels the classes in the order of the outputs, and how many texts to train on have each
 * @param totalSteps optimiser steps of the whole run
 * @param trainableParameters numbers that are trained
 * @param modelParameters numbers of the whole model, adapter included
 * @param compute how it is computed: device, type, kernels
 * @param notes what a user should know: settings that do not apply, doubtful files
 * @param versions of this program and the libraries that matter to the result
 */
public record RunSummary(
        RunConfig config,
        Instant started,
        long trainExamples,
        long trainCut,
        Map<String, Long> labels,
        long totalSteps,
        long trainableParameters,
        long modelParameters,
        String compute,
        List<String> notes,
        Map<String, String> versions) {
    public RunSummary {
        labels = Collections.unmodifiableMap(new LinkedHashMap<>(labels));
        notes = List.copyOf(notes);
        versions = Map.copyOf(versions);
    }
}
