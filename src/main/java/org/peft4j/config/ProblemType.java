package org.peft4j.config;

/** What the outputs of a classifier are: transformers' {@code problem_type}. */
public enum ProblemType {
    /** Each text has one of the labels. */
    SINGLE_LABEL("single_label_classification"),
    /** Each text has any number of the labels. */
    MULTI_LABEL("multi_label_classification"),
    /** Each text has a number. */
    REGRESSION("regression");

    private final String fileName;

    ProblemType(String fileName) {
        this.fileName = fileName;
    }

    /** As files write it. */
    public String fileName() {
        return fileName;
    }
}
