package org.peft4j.train;

import java.time.Instant;
import java.util.Map;

/**
 * What is known when training begins.
 *
 * @param config every setting
 * @param started when it began
 * @param trainExamples texts to train on
 * @param trainCut how many of them were longer than the limit of tokens
 * @param totalSteps optimiser steps of the whole run
 * @param trainableParameters numbers that are trained
 * @param modelParameters numbers of the whole model, adapter included
 * @param compute how it is computed: device, type, kernels
 * @param versions of this program and the libraries that matter to the result
 */
public record RunSummary(
        RunConfig config,
        Instant started,
        long trainExamples,
        long trainCut,
        long totalSteps,
        long trainableParameters,
        long modelParameters,
        String compute,
        Map<String, String> versions) {
    public RunSummary {
        versions = Map.copyOf(versions);
    }
}
