package org.peft4j.metrics;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * How well a model does on rows whose right answer is known.
 *
 * @param examples number of rows
 * @param loss mean loss, as in training
 * @param metrics numbers by name, the most important first; the task's package says what they are
 * @param classes the scores of each class, in the order of the labels; empty where there are no classes
 * @param confusion for each class, how many of its rows were taken for each class; empty where rows have several or none
 * @param cut rows that were longer than the limit of tokens
 */
public record Evaluation(
        long examples,
        double loss,
        Map<String, Double> metrics,
        List<ClassScore> classes,
        List<List<Long>> confusion,
        long cut) {
    /** The name of the share of right answers among {@link #metrics}. */
    public static final String ACCURACY = "accuracy";

    /** The name of the mean of the classes' F1. */
    public static final String MACRO_F1 = "macro_f1";

    /** The name of e to the mean loss of a token. */
    public static final String PERPLEXITY = "perplexity";

    /**
     * The scores of one class; a share of nothing counts as 0.
     *
     * @param label the class
     * @param precision share of right ones among those that were taken for this class
     * @param recall share of recognised ones among those of this class
     * @param f1 harmonic mean of both
     * @param support number of those of this class
     */
    public record ClassScore(String label, double precision, double recall, double f1, long support) {
        /**
         * The scores from counts.
         *
         * @param right recognised ones
         * @param taken how many were taken for this class
         * @param support how many are of this class
         */
        public static ClassScore of(String label, long right, long taken, long support) {
            return new ClassScore(
                    label, share(right, taken), share(right, support), share(2 * right, taken + support), support);
        }

        private static double share(long part, long whole) {
            return whole == 0 ? 0 : (double) part / whole;
        }
    }

    public Evaluation {
        metrics = Collections.unmodifiableMap(new LinkedHashMap<>(metrics));
        classes = List.copyOf(classes);
        confusion = confusion.stream().map(List::copyOf).toList();
    }

    /** A number by its name; NaN if this evaluation has none of it. */
    public double metric(String name) {
        return metrics.getOrDefault(name, Double.NaN);
    }

    /** Share of right answers; NaN for tasks whose answers are not right or wrong. */
    public double accuracy() {
        return metric(ACCURACY);
    }

    /** Mean of the classes' F1; NaN where there are no classes. */
    public double macroF1() {
        return metric(MACRO_F1);
    }

    /** The classes' names. */
    public List<String> labels() {
        return classes.stream().map(ClassScore::label).toList();
    }

    /** As it is printed and written to files. */
    public Map<String, Object> toMap() {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("examples", examples);
        map.put("loss", loss);
        map.putAll(metrics);
        map.put("cut", cut);
        if (!classes.isEmpty()) {
            map.put("labels", labels());
            if (!confusion.isEmpty()) {
                map.put("confusion", confusion);
            }
            map.put("classes", classes.stream().map(Evaluation::toMap).toList());
        }
        return map;
    }

    private static Map<String, Object> toMap(ClassScore score) {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("label", score.label());
        map.put("precision", score.precision());
        map.put("recall", score.recall());
        map.put("f1", score.f1());
        map.put("support", score.support());
        return map;
    }
}
