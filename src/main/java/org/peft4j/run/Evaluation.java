package org.peft4j.run;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * How well a classifier does on labelled texts. The task computes it.
 *
 * @param examples number of texts
 * @param loss mean cross-entropy
 * @param accuracy share of texts with the right label
 * @param macroF1 mean of the classes' F1
 * @param classes the scores of each class, in the order of the labels
 * @param confusion for each class, how many of its texts were taken for each class
 * @param cut texts that were longer than the limit of tokens
 */
public record Evaluation(
        long examples,
        double loss,
        double accuracy,
        double macroF1,
        List<ClassScore> classes,
        List<List<Long>> confusion,
        long cut) {
    /**
     * The scores of one class; a share of nothing counts as 0.
     *
     * @param label the class
     * @param precision share of right ones among the texts that were taken for this class
     * @param recall share of recognised ones among the texts of this class
     * @param f1 harmonic mean of both
     * @param support number of texts of this class
     */
    public record ClassScore(String label, double precision, double recall, double f1, long support) {}

    public Evaluation {
        classes = List.copyOf(classes);
        confusion = confusion.stream().map(List::copyOf).toList();
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
        map.put("accuracy", accuracy);
        map.put("macro_f1", macroF1);
        map.put("cut", cut);
        map.put("labels", labels());
        map.put("confusion", confusion);
        map.put("classes", classes.stream().map(Evaluation::toMap).toList());
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
