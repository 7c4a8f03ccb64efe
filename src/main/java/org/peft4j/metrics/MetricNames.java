package org.peft4j.metrics;

import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * What the numbers of an {@link Evaluation} are called, how people see them, and which way is up. A new metric gets a row here;
 * without one an evaluation refuses it. The metric of one type among several has a dot and the type behind its name: {@code
 * entity_f1.PER}. Immutable, safe from many threads.
 */
public final class MetricNames {
    /** The share of right answers: of texts or words; of multi-label rows those with exactly the right labels. */
    public static final String ACCURACY = "accuracy";

    /** The mean of the classes' F1. */
    public static final String MACRO_F1 = "macro_f1";

    /** F1 of all labels together. */
    public static final String MICRO_F1 = "micro_f1";

    /** F1 of entities in BIO tags, as {@link EntityScores} counts them. */
    public static final String ENTITY_F1 = "entity_f1";

    /** Their precision. */
    public static final String ENTITY_PRECISION = "entity_precision";

    /** Their recall. */
    public static final String ENTITY_RECALL = "entity_recall";

    /** Pearson's correlation of outputs and right numbers, -1 to 1. */
    public static final String PEARSON = "pearson";

    /** The mean of the squared differences. */
    public static final String MEAN_SQUARED_ERROR = "mean_squared_error";

    /** The mean of the differences without their signs. */
    public static final String MEAN_ABSOLUTE_ERROR = "mean_absolute_error";

    /** e to the mean loss of a token. */
    public static final String PERPLEXITY = "perplexity";

    private enum Form {
        SHARE, // 0 to 1
        NUMBER
    }

    private record Metric(String title, Form form, boolean higherIsBetter) {}

    private static final Map<String, Metric> ALL = Map.of(
            ACCURACY, new Metric("accuracy", Form.SHARE, true),
            MACRO_F1, new Metric("macro F1", Form.SHARE, true),
            MICRO_F1, new Metric("micro F1", Form.SHARE, true),
            ENTITY_F1, new Metric("entity F1", Form.SHARE, true),
            ENTITY_PRECISION, new Metric("entity precision", Form.SHARE, true),
            ENTITY_RECALL, new Metric("entity recall", Form.SHARE, true),
            PEARSON, new Metric("Pearson", Form.NUMBER, true),
            MEAN_SQUARED_ERROR, new Metric("mean squared error", Form.NUMBER, false),
            MEAN_ABSOLUTE_ERROR, new Metric("mean absolute error", Form.NUMBER, false),
            PERPLEXITY, new Metric("perplexity", Form.NUMBER, false));

    private MetricNames() {}

    /** Whether there is such a metric, or such a metric of a type. */
    public static boolean isKnown(String name) {
        return ALL.containsKey(base(name));
    }

    /** Whether it is of one type among several, as {@code entity_f1.PER} is. */
    public static boolean isOfType(String name) {
        return name.indexOf('.') >= 0;
    }

    /** What people call it: {@code macro F1}, {@code entity F1 of PER}. */
    public static String title(String name) {
        String title = metric(name).title();
        return isOfType(name) ? title + " of " + name.substring(name.indexOf('.') + 1) : title;
    }

    /** Whether it is a share, from 0 to 1, that may be shown in percent. */
    public static boolean isShare(String name) {
        return metric(name).form() == Form.SHARE;
    }

    /** Whether a larger one is better. */
    public static boolean higherIsBetter(String name) {
        return metric(name).higherIsBetter();
    }

    /** Whether a value is better than another of the same metric. */
    public static boolean isBetter(String name, double value, double than) {
        return higherIsBetter(name) ? value > than : value < than;
    }

    /** A value as people read it: a perplexity with two digits behind the point, others with four. */
    public static String text(String name, double value) {
        if (!Double.isFinite(value)) {
            return String.valueOf(value);
        }
        double size = Math.abs(value);
        if (size >= 1e6 || (size > 0 && size < 1e-3)) {
            return String.format(Locale.ROOT, "%.2e", value);
        }
        return String.format(Locale.ROOT, base(name).equals(PERPLEXITY) ? "%.2f" : "%.4f", value);
    }

    /** What people call a count, as {@code cut}, {@code words without tokens}. */
    public static String countTitle(String name) {
        return name.replace('_', ' ').replace("bio", "BIO");
    }

    private static Metric metric(String name) {
        @Nullable Metric metric = ALL.get(base(name));
        return Objects.requireNonNull(metric, () -> "no metric is called " + name);
    }

    private static String base(String name) {
        int dot = name.indexOf('.');
        return dot < 0 ? name : name.substring(0, dot);
    }
}
