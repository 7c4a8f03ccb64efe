package org.peft4j.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Numbers worked out by hand from the rules of conlleval. */
class EntityScoresTest {
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                // right tags       | predicted          | entities, predicted, right | not well-formed: right,
                // predicted
                "B-A I-A O          | B-A I-A O          | 1 | 1 | 1 | 0 | 0",
                "O O                | O O                | 0 | 0 | 0 | 0 | 0",
                "B-A I-A            | B-A B-A            | 1 | 2 | 0 | 0 | 0",
                "B-A B-A            | B-A I-A            | 2 | 1 | 0 | 0 | 0",
                "I-A I-A O          | B-A I-A O          | 1 | 1 | 1 | 1 | 0",
                "B-A I-B            | B-A I-B            | 2 | 2 | 2 | 1 | 1",
                "B-A I-B            | B-A I-A            | 2 | 1 | 0 | 1 | 0",
                "O I-A              | O B-A              | 1 | 1 | 1 | 1 | 0",
                "B-A O I-A          | B-A O B-A          | 2 | 2 | 2 | 1 | 0",
                "B-A I-A I-A        | B-A I-A O          | 1 | 1 | 0 | 0 | 0",
                "B-A I-A            | B-B I-B            | 1 | 1 | 0 | 0 | 0",
                "I-A B-A I-A        | I-A I-A I-A        | 2 | 1 | 0 | 1 | 1",
                "B I O B            | B I O O            | 2 | 1 | 1 | 0 | 0",
                "B-A-B I-A-B        | B-A-B I-A-C        | 1 | 2 | 0 | 0 | 1",
                "O O B-A            | B-A O O            | 1 | 1 | 0 | 0 | 0",
                "B-A I-A B-B I-B O  | B-A I-A I-B I-B O  | 2 | 2 | 2 | 0 | 1",
                "B-A O O B-B        | B-A I-A I-A I-A    | 2 | 1 | 0 | 0 | 0",
            })
    void entitiesAreCountedAsConllevalDoes(
            String gold, String predicted, long expected, long found, long right, long badGold, long badPredicted) {
        EntityScores scores = new EntityScores();
        scores.add(tags(gold), tags(predicted));
        assertThat(scores.overall()).isEqualTo(new EntityScores.Score(expected, found, right));
        assertThat(scores.malformedGold()).isEqualTo(badGold);
        assertThat(scores.malformedPredicted()).isEqualTo(badPredicted);
    }

    /**
     * PER: 2 there, 3 predicted, 2 right. LOC: 2, 1, 1. ORG: 1, 1, 0. Together 5, 5, 3; 9 of 12 words have the right tag.
     */
    @Test
    void scoresOfTypesAndTogether() {
        EntityScores scores = new EntityScores();
        scores.add(tags("B-PER I-PER O B-LOC O"), tags("B-PER I-PER O B-LOC B-PER"));
        scores.add(tags("B-ORG I-ORG O"), tags("B-ORG O O"));
        scores.add(tags("O B-PER B-LOC O"), tags("O B-PER O O"));

        assertThat(scores.byType().keySet()).containsExactly("LOC", "ORG", "PER");
        EntityScores.Score person = scores.byType().get("PER");
        assertThat(person.precision()).isEqualTo(2 / 3.0);
        assertThat(person.recall()).isEqualTo(1);
        assertThat(person.f1()).isEqualTo(0.8, within(1e-12));
        EntityScores.Score place = scores.byType().get("LOC");
        assertThat(place.precision()).isEqualTo(1);
        assertThat(place.recall()).isEqualTo(0.5);
        assertThat(place.f1()).isEqualTo(2 / 3.0, within(1e-12));
        assertThat(scores.byType().get("ORG").f1()).isZero();
        assertThat(scores.overall().precision()).isEqualTo(0.6);
        assertThat(scores.overall().recall()).isEqualTo(0.6);
        assertThat(scores.overall().f1()).isEqualTo(0.6, within(1e-12));
        assertThat(scores.words()).isEqualTo(12);
        assertThat(scores.accuracy()).isEqualTo(9 / 12.0);
    }

    @Test
    void nothingToCountIsZero() {
        EntityScores scores = new EntityScores();
        assertThat(scores.overall().precision()).isZero();
        assertThat(scores.overall().recall()).isZero();
        assertThat(scores.overall().f1()).isZero();
        assertThat(scores.accuracy()).isZero();
    }

    @Test
    void knowsTagsThatAreBio() {
        assertThat(EntityScores.isBio(List.of("O", "B-PER", "I-PER"))).isTrue();
        assertThat(EntityScores.isBio(List.of("I-MISC", "O"))).isTrue();
        assertThat(EntityScores.isBio(List.of("B", "I", "O"))).isTrue();
        assertThat(EntityScores.isBio(List.of("O"))).isFalse();
        assertThat(EntityScores.isBio(List.of())).isFalse();
        assertThat(EntityScores.isBio(List.of("NOUN", "ADP", "PROPN"))).isFalse();
        assertThat(EntityScores.isBio(List.of("O", "B-PER", "S-PER"))).isFalse();
        assertThat(EntityScores.isBio(List.of("O", "B-", "I-"))).isFalse();
        assertThat(EntityScores.isBio(List.of("0", "1"))).isFalse();
    }

    @Test
    void wrongCallsAreTold() {
        EntityScores scores = new EntityScores();
        assertThatThrownBy(() -> scores.add(tags("B-A O"), tags("B-A")))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("2 tags, but 1 predicted ones");
        assertThatThrownBy(() -> scores.add(tags("B-A"), tags("NOUN")))
                .hasMessage("a tag must be O, B-TYPE or I-TYPE, got 'NOUN'");
        assertThat(scores.overall()).as("nothing was counted").isEqualTo(new EntityScores.Score(0, 0, 0));
        assertThat(scores.words()).isZero();
    }

    @Test
    void accuracyTakesAnyTags() {
        TagAccuracy accuracy = new TagAccuracy();
        accuracy.add(tags("NOUN VERB PUNCT"), tags("NOUN NOUN PUNCT"));
        accuracy.add(tags("ADJ"), tags("ADJ"));
        assertThat(accuracy.value()).isEqualTo(0.75);
        assertThat(accuracy.words()).isEqualTo(4);
    }

    private static List<String> tags(String blankSeparated) {
        return List.of(blankSeparated.strip().split(" +"));
    }
}
