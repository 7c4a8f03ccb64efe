package org.peft4j.io;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;

class NearestNameTest {
    private static final List<String> KNOWN = List.of("query", "key", "value", "learning_rate");

    @Test
    void findsSlipsOfTheKeyboard() {
        assertThat(NearestName.of("qeury", KNOWN)).contains("query");
        assertThat(NearestName.of("learning_rat", KNOWN)).contains("learning_rate");
        assertThat(NearestName.of("valeu", KNOWN)).contains("value");
    }

    @Test
    void findsNothingForAnotherWord() {
        assertThat(NearestName.of("banana", KNOWN)).isEmpty();
        assertThat(NearestName.of("x", List.of())).isEmpty();
    }

    @Test
    void hintListsWhatIsKnownWhereNothingIsNear() {
        assertThat(NearestName.hint("banana", KNOWN)).isEqualTo("; known: key, learning_rate, query, value");
        assertThat(NearestName.hint("quer", KNOWN)).isEqualTo("; did you mean 'query'?");
    }
}
