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
 * @param metrics numbers by name, the most important first: {@link MetricNames}
 * @param counts whole numbers by name, of what a reader of the metrics should know: rows that were {@link #CUT}, tokens that
 *     counted, tags that are no BIO sequence
 * @param classes the scores of each class, in the order of the labels; empty where there are no classes
 * @param confusion for each class, how many of its rows were taken for each class; empty where rows have several or none
 */
public record Evaluation(
        long examples,
        double loss,
        Map<String, Double> metrics,
        Map<String, Long> counts,
        List<ClassScore> classes,
        List<List<Long>> confusion) {
    /** The name of the number of rows that were longer than the limit of tokens, among {@link #counts}. */
    public static final String CUT = "cut";

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

    /** @throws IllegalArgumentException if {@link MetricNames} does not know a metric */
    public Evaluation {
        metrics = Collections.unmodifiableMap(new LinkedHashMap<>(metrics));
        for (String name : metrics.keySet()) {
            if (!MetricNames.isKnown(name)) {
                throw new IllegalArgumentException(
                        "the metric '" + name + "' is unknown; it needs a row in MetricNames");
            }
        }
        counts = Collections.unmodifiableMap(new LinkedHashMap<>(counts));
        classes = List.copyOf(classes);
        confusion = confusion.stream().map(List::copyOf).toList();
    }

    /**
     * The name of the metric that says most about the task.
     *
     * @throws java.util.NoSuchElementException if there is no metric
     */
    public String mainMetric() {
        return metrics.keySet().iterator().next();
    }

    /** A metric by its name; NaN if this evaluation has none of it. */
    public double metric(String name) {
        return metrics.getOrDefault(name, Double.NaN);
    }

    /** Share of right answers; NaN for tasks whose answers are not right or wrong. */
    public double accuracy() {
        return metric(MetricNames.ACCURACY);
    }

    /** Mean of the classes' F1; NaN where there are no classes. */
    public double macroF1() {
        return metric(MetricNames.MACRO_F1);
    }

    /** A count by its name; 0 if this evaluation has none of it. */
    public long count(String name) {
        return counts.getOrDefault(name, 0L);
    }

    /** How many rows were longer than the limit of tokens, so that their ends were not read. */
    public long cut() {
        return count(CUT);
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
        map.putAll(counts);
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
