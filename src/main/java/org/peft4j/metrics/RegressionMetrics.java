package org.peft4j.metrics;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Collects a number for each row beside the right one: mean squared and absolute error, and Pearson's correlation. For one thread. */
public final class RegressionMetrics {
    private long rows;
    private double squares;
    private double absolutes;
    private double meanX;
    private double meanY;
    private double varianceX;
    private double varianceY;
    private double covariance;

    /** Adds one row. */
    public void add(double predicted, double expected) {
        rows++;
        double error = predicted - expected;
        squares += error * error;
        absolutes += Math.abs(error);
        double dx = predicted - meanX;
        double dy = expected - meanY;
        meanX += dx / rows;
        meanY += dy / rows;
        varianceX += dx * (predicted - meanX);
        varianceY += dy * (expected - meanY);
        covariance += dx * (expected - meanY);
    }

    /** The result so far; the correlation is left out where one side does not vary. */
    public Evaluation evaluation(long cut) {
        if (rows == 0) {
            throw new IllegalStateException("nothing to evaluate: no text was added");
        }
        Map<String, Double> metrics = new LinkedHashMap<>();
        if (varianceX > 0 && varianceY > 0) {
            metrics.put(MetricNames.PEARSON, covariance / Math.sqrt(varianceX * varianceY));
        }
        metrics.put(MetricNames.MEAN_SQUARED_ERROR, squares / rows);
        metrics.put(MetricNames.MEAN_ABSOLUTE_ERROR, absolutes / rows);
        return new Evaluation(rows, squares / rows, metrics, Map.of(Evaluation.CUT, cut), List.of(), List.of());
    }
}
