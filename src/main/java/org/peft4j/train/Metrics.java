package org.peft4j.train;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.peft4j.run.Evaluation;
import org.peft4j.run.Evaluation.ClassScore;

/**
 * Collects a classifier's outputs and computes an {@link Evaluation}. A prediction is the first of the largest logits;
 * sums are taken in double and in the order of the calls.
 */
public final class Metrics {
    private final List<String> labels;
    private final long[][] confusion;
    private long examples;
    private double lossSum;

    public Metrics(List<String> labels) {
        this.labels = List.copyOf(labels);
        this.confusion = new long[labels.size()][labels.size()];
    }

    /**
     * Adds one text.
     *
     * @param logits the outputs, one for each label
     * @param expected index of the right label
     */
    public void add(float[] logits, int expected) {
        if (logits.length != labels.size()) {
            throw new IllegalArgumentException(
                    "expected " + labels.size() + " logits, one for each of " + labels + ", got " + logits.length);
        }
        int predicted = 0;
        for (int i = 1; i < logits.length; i++) {
            if (logits[i] > logits[predicted]) {
                predicted = i;
            }
        }
        double max = logits[predicted];
        double sum = 0;
        for (float logit : logits) {
            sum += Math.exp(logit - max);
        }
        confusion[expected][predicted]++;
        lossSum += Math.log(sum) + max - logits[expected];
        examples++;
    }

    /**
     * The result so far.
     *
     * @param cut texts that were longer than the limit of tokens
     * @throws IllegalStateException if there was no text
     */
    public Evaluation evaluation(long cut) {
        if (examples == 0) {
            throw new IllegalStateException("nothing to evaluate: no text was added");
        }
        List<ClassScore> classes = new ArrayList<>();
        long right = 0;
        for (int c = 0; c < labels.size(); c++) {
            right += confusion[c][c];
            classes.add(score(c));
        }
        double macroF1 = classes.stream().mapToDouble(ClassScore::f1).sum() / classes.size();
        List<List<Long>> table = Arrays.stream(confusion)
                .map(row -> Arrays.stream(row).boxed().toList())
                .toList();
        return new Evaluation(examples, lossSum / examples, (double) right / examples, macroF1, classes, table, cut);
    }

    private ClassScore score(int c) {
        long right = confusion[c][c];
        long support = Arrays.stream(confusion[c]).sum();
        long taken = Arrays.stream(confusion).mapToLong(row -> row[c]).sum();
        return new ClassScore(
                labels.get(c), share(right, taken), share(right, support), share(2 * right, taken + support), support);
    }

    private static double share(long part, long whole) {
        return whole == 0 ? 0 : (double) part / whole;
    }
}
