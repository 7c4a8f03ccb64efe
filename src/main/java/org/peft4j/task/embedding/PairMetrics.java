package org.peft4j.task.embedding;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.config.EmbeddingConfig;
import org.peft4j.metrics.Evaluation;
import org.peft4j.metrics.MetricNames;
import org.peft4j.metrics.RegressionMetrics;

/**
 * How well vectors of texts find those of the texts that belong to them. Accuracy is the share of texts whose nearest one, of the
 * {@value #BLOCK} pairs of their part of the file, is their own; the loss takes the same pairs as a batch. So neither depends on
 * the batches that vectors are computed in. For pairs with scores: how near the cosines are to them.
 */
final class PairMetrics {
    private static final int BLOCK = 1024;

    private final EmbeddingConfig.Loss kind;
    private final double scale;
    private final List<float[]> texts = new ArrayList<>();
    private final List<float[]> positives = new ArrayList<>();
    private final RegressionMetrics cosines = new RegressionMetrics();
    private long pairs;
    private long right;
    private double lossSum;

    PairMetrics(EmbeddingConfig.Loss kind, double scale) {
        this.kind = kind;
        this.scale = scale;
    }

    void add(float[] text, float[] positive, float score) {
        pairs++;
        float[] a = unit(text);
        float[] b = unit(positive);
        if (kind == EmbeddingConfig.Loss.COSINE) {
            cosines.add(dot(a, b), score);
            return;
        }
        texts.add(a);
        positives.add(b);
        if (texts.size() == BLOCK) {
            block();
        }
    }

    private void block() {
        for (int i = 0; i < texts.size(); i++) {
            double[] scores = new double[positives.size()];
            int best = 0;
            for (int j = 0; j < scores.length; j++) {
                scores[j] = scale * dot(texts.get(i), positives.get(j));
                best = scores[j] > scores[best] ? j : best;
            }
            double sum = 0;
            for (double score : scores) {
                sum += Math.exp(score - scores[best]);
            }
            lossSum += Math.log(sum) + scores[best] - scores[i];
            right += best == i ? 1 : 0;
        }
        texts.clear();
        positives.clear();
    }

    private static float[] unit(float[] vector) {
        double length = Math.max(Math.sqrt(dot(vector, vector)), 1e-12);
        float[] unit = new float[vector.length];
        for (int i = 0; i < unit.length; i++) {
            unit[i] = (float) (vector[i] / length);
        }
        return unit;
    }

    private static double dot(float[] a, float[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += (double) a[i] * b[i];
        }
        return sum;
    }

    Evaluation evaluation(long cut) {
        if (kind == EmbeddingConfig.Loss.COSINE) {
            return cosines.evaluation(cut);
        }
        if (pairs == 0) {
            throw new IllegalStateException("nothing to evaluate: no pair was added");
        }
        block();
        Map<String, Double> metrics = new LinkedHashMap<>();
        metrics.put(MetricNames.ACCURACY, (double) right / pairs);
        return new Evaluation(pairs, lossSum / pairs, metrics, Map.of(Evaluation.CUT, cut), List.of(), List.of());
    }
}
