package org.peft4j.model;

import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;

/** What a model directory's head is for, against what is asked of it. */
public final class ClassifierHead {
    private static final String PROBLEM = "problem_type";
    private static final String COUNT = "num_labels";

    private static final String WAY_OUT = "to train a new head write task.new_head: true (--set task.new_head=true),"
            + " else give an adapter that brings its own head, or as many labels as the head has";

    private ClassifierHead() {}

    /**
     * Refuses heads that are no classifiers of one label a row, and heads of another size.
     *
     * @param rows outputs of the directory's head, empty if it has none
     * @param labels classes that are asked for
     * @param newHead whether the directory's head is left out
     */
    public static void check(ModelDirectory directory, OptionalLong rows, int labels, boolean newHead)
            throws MalformedFileException {
        @Nullable Object problem = directory.config().get(PROBLEM);
        if (problem != null && !problem.equals("single_label_classification")) {
            throw new MalformedFileException(
                    directory.configFile(),
                    -1,
                    PROBLEM + " " + problem + " is not supported: each row has one label of several"
                            + " (single_label_classification)");
        }
        if (newHead || rows.isEmpty()) {
            return;
        }
        @Nullable Object count = directory.config().get(COUNT);
        if (count != null && !(count instanceof Number number && number.doubleValue() == rows.getAsLong())) {
            throw new MalformedFileException(
                    directory.configFile(),
                    -1,
                    COUNT + " is " + Json.shown(count) + ", but the model's head has " + rows.getAsLong() + " outputs; "
                            + WAY_OUT);
        }
        if (rows.getAsLong() == 1) {
            throw new MalformedFileException(
                    directory.directory(),
                    -1,
                    "the model's head has one output, so it is a regression, which is not supported; " + WAY_OUT);
        }
        if (rows.getAsLong() != labels) {
            throw new MalformedFileException(
                    directory.directory(),
                    -1,
                    "the model's head has " + rows.getAsLong() + " classes, asked for are " + labels + "; " + WAY_OUT);
        }
    }
}
