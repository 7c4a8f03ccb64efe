package org.peft4j.metrics;

import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;

/**
 * Precision, recall and F1 of entities in sequences of BIO tags, counted as the script of the CoNLL-2000 shared task
 * (conlleval) does: an entity is right if its first word, its last word and its type are. Accuracy is over words.
 *
 * <p>Not for several threads at the same time.
 */
public final class EntityScores {
    private static final Pattern BIO = Pattern.compile("O|[BI](-.+)?", Pattern.DOTALL);

    /**
     * Counts of entities.
     *
     * @param gold how many there are
     * @param predicted how many were predicted
     * @param correct how many of those are right
     */
    public record Score(long gold, long predicted, long correct) {
        private static final Score NONE = new Score(0, 0, 0);

        /** The part of the predicted ones that is right; 0 where none was predicted. */
        public double precision() {
            return predicted == 0 ? 0 : (double) correct / predicted;
        }

        /** The part of those there are that was found; 0 where there are none. */
        public double recall() {
            return gold == 0 ? 0 : (double) correct / gold;
        }

        /** The harmonic mean of both; 0 where both are. */
        public double f1() {
            return correct == 0 ? 0 : 2.0 * correct / (gold + predicted);
        }

        private Score plus(Score other) {
            return new Score(gold + other.gold, predicted + other.predicted, correct + other.correct);
        }
    }

    private final Map<String, Score> byType = new TreeMap<>();
    private final TagAccuracy accuracy = new TagAccuracy();
    private long malformedGold;
    private long malformedPredicted;

    /** Whether these are BIO tags: only {@code O}, {@code B-…} and {@code I-…} (or B and I), and not O alone. */
    public static boolean isBio(Collection<String> labels) {
        return labels.stream().allMatch(label -> BIO.matcher(label).matches())
                && labels.stream().anyMatch(label -> !label.equals("O"));
    }

    /**
     * Counts one sentence.
     *
     * @param gold the right tags
     * @param predicted as many others
     */
    public void add(List<String> gold, List<String> predicted) {
        check(gold);
        check(predicted);
        accuracy.add(gold, predicted);
        List<Chunk> right = Chunk.of(gold);
        List<Chunk> found = Chunk.of(predicted);
        right.forEach(chunk -> count(chunk, new Score(1, 0, 0)));
        found.forEach(chunk -> count(chunk, new Score(0, 1, 0)));
        Set<Chunk> both = new HashSet<>(right);
        both.retainAll(new HashSet<>(found));
        both.forEach(chunk -> count(chunk, new Score(0, 0, 1)));
        malformedGold += Chunk.wellFormed(gold) ? 0 : 1;
        malformedPredicted += Chunk.wellFormed(predicted) ? 0 : 1;
    }

    private static void check(List<String> tags) {
        for (String tag : tags) {
            if (!BIO.matcher(tag).matches()) {
                throw new IllegalArgumentException("a tag must be O, B-TYPE or I-TYPE, got '" + tag + "'");
            }
        }
    }

    private void count(Chunk chunk, Score score) {
        byType.merge(chunk.type(), score, Score::plus);
    }

    /** The scores of each type that occurred, in alphabetical order. */
    public Map<String, Score> byType() {
        return new TreeMap<>(byType);
    }

    /** The scores of all entities together. */
    public Score overall() {
        return byType.values().stream().reduce(Score.NONE, Score::plus);
    }

    /** The part of the words whose tag is right. */
    public double accuracy() {
        return accuracy.value();
    }

    /** Words counted. */
    public long words() {
        return accuracy.words();
    }

    /** Sentences whose right tags are no well-formed BIO: an {@code I-} does not stand behind a tag of its type. */
    public long malformedGold() {
        return malformedGold;
    }

    /** The same of the predicted tags. */
    public long malformedPredicted() {
        return malformedPredicted;
    }
}
