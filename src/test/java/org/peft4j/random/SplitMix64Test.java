package org.peft4j.random;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.List;
import java.util.stream.DoubleStream;
import org.junit.jupiter.api.Test;

class SplitMix64Test {
    @Test
    void generatorGivesThePublishedNumbers() {
        // The first outputs for seed 1234567, as published with other implementations of SplitMix64.
        SplitMix64 random = new SplitMix64(1234567);
        assertThat(List.of(random.next(), random.next(), random.next(), random.next(), random.next()))
                .extracting(Long::toUnsignedString)
                .containsExactly(
                        "6457827717110365317",
                        "3203168211198807973",
                        "9817491932198370423",
                        "4593380528125082431",
                        "16408922859458223821");
    }

    @Test
    void boundedNumbersAreEquallyLikely() {
        SplitMix64 random = new SplitMix64(1);
        int[] counts = new int[7];
        for (int i = 0; i < 70_000; i++) {
            counts[(int) random.below(7)]++;
        }
        assertThat(Arrays.stream(counts)).allMatch(count -> count > 9_600 && count < 10_400);
    }

    @Test
    void uniformNumbersFillTheUnitInterval() {
        SplitMix64 random = new SplitMix64(2);
        double[] values = DoubleStream.generate(random::uniform).limit(100_000).toArray();
        assertThat(Arrays.stream(values)).allMatch(value -> value >= 0 && value < 1);
        assertThat(Arrays.stream(values).average().orElseThrow()).isCloseTo(0.5, within(0.005));
        assertThat(Arrays.stream(values).map(value -> value * value).average().orElseThrow())
                .isCloseTo(1.0 / 3, within(0.005));
    }

    @Test
    void normalNumbersHaveTheMomentsOfTheNormalDistribution() {
        SplitMix64 random = new SplitMix64(3);
        double[] values = DoubleStream.generate(random::normal).limit(200_000).toArray();
        assertThat(moment(values, 1)).isCloseTo(0, within(0.01));
        assertThat(moment(values, 2)).isCloseTo(1, within(0.02));
        assertThat(moment(values, 3)).isCloseTo(0, within(0.04));
        assertThat(moment(values, 4)).isCloseTo(3, within(0.1));
        assertThat(Arrays.stream(values).filter(value -> Math.abs(value) < 1).count() / 200_000.0)
                .isCloseTo(0.6827, within(0.005));
    }

    private static double moment(double[] values, int power) {
        return Arrays.stream(values)
                .map(value -> Math.pow(value, power))
                .average()
                .orElseThrow();
    }
}
