package org.peft4j.ops;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class DeterministicTest {
    @Test
    void isOnUntilItIsSwitchedOff() {
        assertThat(Ops.deterministic()).isTrue();
        Ops.setDeterministic(false);
        try {
            assertThat(Ops.deterministic()).isFalse();
        } finally {
            Ops.setDeterministic(true);
        }
        assertThat(Ops.deterministic()).isTrue();
    }
}
