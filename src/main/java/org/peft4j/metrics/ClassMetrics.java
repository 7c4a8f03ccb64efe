package org.peft4j.metrics;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.metrics.Evaluation.ClassScore;

/**
 * Collects outputs for things of which each has one class, and computes an {@link Evaluation}. A prediction is the first of the
 * largest logits; sums are taken in double and in the order of the calls. For one thread.
 */
public final class ClassMetrics {
    private final List<String> labels;
    private final long[][] confusion;
    private long things;
    private double lossSum;

    /** Nothing counted yet; labels in the order of the outputs. */
    public ClassMetrics(List<String> labels) {
        this.labels = List.copyOf(labels);
        this.confusion = new long[labels.size()][labels.size()];
    }

    /**
     * Adds one.
     *
     * @param logits the outputs, one for each label
     * @param expected index of the right label
     * @return index of the predicted label
     */
    public int add(float[] logits, int expected) {
        if (logits.length != labels.size()) {
            throw new IllegalArgumentException(
                    "expected " + labels.size() + " logits, one for each of " + labels + ", got " + logits.length);
        }
        int predicted = largest(logits);
        double max = logits[predicted];
        double sum = 0;
        for (float logit : logits) {
            sum += Math.exp(logit - max);
        }
        confusion[expected][predicted]++;
        lossSum += Math.log(sum) + max - logits[expected];
        things++;
        return predicted;
    }

    /** Index of the first of the largest values. */
    public static int largest(float[] values) {
        int best = 0;
        for (int i = 1; i < values.length; i++) {
            best = values[i] > values[best] ? i : best;
        }
        return best;
    }

    /**
     * The result so far, where each thing is a row.
     *
     * @param cut rows that were longer than the limit of tokens
     * @throws IllegalStateException if there was none
     */
    public Evaluation evaluation(long cut) {
        return evaluation(things, Map.of(), Map.of(Evaluation.CUT, cut));
    }

    /**
     * The result so far.
     *
     * @param rows number of rows, where a row has several things
     * @param first metrics that are more important than those of the classes
     * @param counts further whole numbers by name
     */
    public Evaluation evaluation(long rows, Map<String, Double> first, Map<String, Long> counts) {
        if (things == 0) {
            throw new IllegalStateException("nothing to evaluate: no text was added");
        }
        List<ClassScore> classes = new ArrayList<>();
        long right = 0;
        for (int c = 0; c < labels.size(); c++) {
            right += confusion[c][c];
            classes.add(score(c));
        }
        Map<String, Double> metrics = new LinkedHashMap<>(first);
        metrics.put(MetricNames.ACCURACY, (double) right / things);
        metrics.put(
                MetricNames.MACRO_F1,
                classes.stream().mapToDouble(ClassScore::f1).sum() / classes.size());
        List<List<Long>> table = Arrays.stream(confusion)
                .map(row -> Arrays.stream(row).boxed().toList())
                .toList();
        return new Evaluation(rows, lossSum / things, metrics, counts, classes, table);
    }

    private ClassScore score(int c) {
        long support = Arrays.stream(confusion[c]).sum();
        long taken = Arrays.stream(confusion).mapToLong(row -> row[c]).sum();
        return ClassScore.of(labels.get(c), confusion[c][c], taken, support);
    }
}
