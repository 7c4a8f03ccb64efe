package org.peft4j.nn;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.error.ConfigException;
import org.peft4j.ops.Ops;

class DropoutTest {
    @ParameterizedTest
    @ValueSource(doubles = {0, 1.0 / 512, 0.002, 0.1, 0.5, 0.99, 0.998})
    void takesWhatDropsSomethingAndLeavesSomething(double p) {
        assertThatCode(() -> Dropout.check("method.dropout", p)).doesNotThrowAnyException();
    }

    @ParameterizedTest
    @CsvSource({
        "1e-300, drop nothing",
        "0.001, drop nothing",
        "0.0019531249, drop nothing",
        "0.998046875, drop everything",
        "0.9999, drop everything",
        "1, below 1",
        "-0.1, below 1",
        "NaN, below 1",
        "Infinity, below 1"
    })
    void refusesWhatTrainsSomethingElse(double p, String why) {
        assertThatThrownBy(() -> Dropout.check("method.dropout", p))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll("method.dropout", why, String.valueOf(p));
    }

    /** The bounds are those of the native mask. */
    @Test
    void theBoundsAreWhereTheMaskChanges() {
        assertThat(dropped(1.0 / 512)).isPositive();
        assertThat(dropped(0.0019531249)).isZero();
        assertThat(dropped(0.998)).isLessThan(100_000);
    }

    private static long dropped(double p) {
        try (PointerScope scope = new PointerScope()) {
            Tensor ones = Tensors.zeros(1000, 100).add(new org.bytedeco.pytorch.Scalar(1.0));
            return 100_000 - Ops.dropout(ones, p, 1).count_nonzero().item_long();
        }
    }
}
