package org.peft4j.metrics;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.metrics.Evaluation.ClassScore;

/**
 * Collects outputs for rows of which each has any number of labels. A label is predicted if its logit is above 0, which is a
 * probability above one half. Accuracy is the share of rows with exactly the right labels. For one thread.
 */
public final class MultiLabelMetrics {
    private final List<String> labels;
    private final long[] right;
    private final long[] taken;
    private final long[] support;
    private long rows;
    private long exact;
    private double lossSum;

    /** Nothing counted yet; labels in the order of the outputs. */
    public MultiLabelMetrics(List<String> labels) {
        this.labels = List.copyOf(labels);
        right = new long[labels.size()];
        taken = new long[labels.size()];
        support = new long[labels.size()];
    }

    /**
     * Adds one row.
     *
     * @param expected 1 for the labels that the row has, else 0
     */
    public void add(float[] logits, float[] expected) {
        boolean all = true;
        for (int c = 0; c < labels.size(); c++) {
            boolean is = expected[c] > 0.5f;
            boolean said = logits[c] > 0;
            support[c] += is ? 1 : 0;
            taken[c] += said ? 1 : 0;
            right[c] += is && said ? 1 : 0;
            all &= is == said;
            // binary cross-entropy of σ(z): max(z, 0) - z y + log(1 + e^-|z|)
            double z = logits[c];
            lossSum += Math.max(z, 0) - z * expected[c] + Math.log1p(Math.exp(-Math.abs(z)));
        }
        rows++;
        exact += all ? 1 : 0;
    }

    /** The result so far; {@code cut} rows were longer than the limit of tokens. */
    public Evaluation evaluation(long cut) {
        if (rows == 0) {
            throw new IllegalStateException("nothing to evaluate: no text was added");
        }
        List<ClassScore> classes = new ArrayList<>();
        long allRight = 0;
        long allTaken = 0;
        long allSupport = 0;
        for (int c = 0; c < labels.size(); c++) {
            classes.add(ClassScore.of(labels.get(c), right[c], taken[c], support[c]));
            allRight += right[c];
            allTaken += taken[c];
            allSupport += support[c];
        }
        Map<String, Double> metrics = new LinkedHashMap<>();
        metrics.put(MetricNames.ACCURACY, (double) exact / rows);
        metrics.put(
                MetricNames.MACRO_F1,
                classes.stream().mapToDouble(ClassScore::f1).sum() / classes.size());
        metrics.put(
                MetricNames.MICRO_F1,
                ClassScore.of("", allRight, allTaken, allSupport).f1());
        return new Evaluation(
                rows, lossSum / rows / labels.size(), metrics, Map.of(Evaluation.CUT, cut), classes, List.of());
    }
}
