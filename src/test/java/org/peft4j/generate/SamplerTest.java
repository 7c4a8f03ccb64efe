package org.peft4j.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.data.Offset.offset;

import java.util.List;
import org.junit.jupiter.api.Test;

class SamplerTest {
    private static final float[] LOGITS = {1, -0.0f, 3, 2, 0, -50};
    private static final int DRAWS = 20_000;

    private static double[] frequencies(double temperature, int topK, double topP) {
        Sampler sampler = new Sampler(new Sampling(temperature, topK, topP, 0, Penalties.NONE, 0), 5);
        double[] counts = new double[LOGITS.length];
        for (int i = 0; i < DRAWS; i++) {
            counts[sampler.next(LOGITS)] += 1.0 / DRAWS;
        }
        return counts;
    }

    private static void agree(double[] frequencies, int... tokens) {
        agree(1, frequencies, tokens);
    }

    /** Those of a softmax over these tokens alone. */
    private static void agree(double temperature, double[] frequencies, int... tokens) {
        double sum = 0;
        for (int token : tokens) {
            sum += Math.exp((LOGITS[token] - 3) / temperature);
        }
        double all = 0;
        for (int token : tokens) {
            assertThat(frequencies[token]).isCloseTo(Math.exp((LOGITS[token] - 3) / temperature) / sum, offset(0.015));
            all += frequencies[token];
        }
        assertThat(all).isCloseTo(1, offset(1e-9));
    }

    @Test
    void drawsByTheModelsProbabilities() {
        agree(frequencies(1, 0, 1), 0, 1, 2, 3, 4, 5);
        agree(2, frequencies(2, 0, 1), 0, 1, 2, 3, 4, 5);
    }

    @Test
    void topKKeepsTheLikeliestAndThoseThatAreAsLikelyAsTheLast() {
        agree(frequencies(1, 2, 1), 2, 3);
        agree(frequencies(1, 4, 1), 0, 1, 2, 3, 4); // 0 and -0 are equal
        agree(frequencies(1, 100, 1), 0, 1, 2, 3, 4, 5);
    }

    /** Probabilities are 0.61, 0.22, 0.08, 0.03, 0.03 of tokens 2, 3, 0, 1, 4. */
    @Test
    void topPKeepsTheFewestThatHaveItTogether() {
        agree(frequencies(1, 0, 0.5), 2);
        agree(frequencies(1, 0, 1e-9), 2);
        agree(frequencies(1, 0, 0.8), 2, 3);
        agree(frequencies(1, 0, 0.9), 2, 3, 0);
        agree(frequencies(1, 3, 0.9), 2, 3); // of the three likeliest these two have 0.91
    }

    @Test
    void temperatureZeroTakesTheFirstOfTheLikeliest() {
        Sampler sampler = new Sampler(Sampling.GREEDY, 5);
        assertThat(sampler.next(new float[] {1, 4, 4, 2})).isEqualTo(1);
        assertThat(sampler.next(new float[] {-3})).isEqualTo(0);
    }

    @Test
    void aVerySmallTemperatureIsTheLikeliest() {
        agree(1e-6, frequencies(1e-6, 0, 1), 2);
    }

    @Test
    void stopStringsAreFoundAndTheirBeginningsHeldBack() {
        StopStrings stops = new StopStrings(List.of("END", "\n\n"));
        assertThat(stops.find("the E N D")).isEqualTo(-1);
        assertThat(stops.find("a\n\nEND")).isEqualTo(1);
        assertThat(stops.safe("the EN")).isEqualTo(4);
        assertThat(stops.safe("the ENd")).isEqualTo(7);
        assertThat(stops.safe("the\n")).isEqualTo(3);
        assertThat(stops.safe("")).isEqualTo(0);
    }
}
