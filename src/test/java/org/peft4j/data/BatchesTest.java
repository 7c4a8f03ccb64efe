package org.peft4j.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class BatchesTest {
    @Test
    void orderOfTheFileIsKeptWithASmallerLastBatch() {
        assertThat(Batches.inOrder(5, 2)).containsExactly(new int[] {0, 1}, new int[] {2, 3}, new int[] {4});
        assertThat(Batches.inOrder(0, 2)).isEmpty();
    }

    @Test
    void everyExampleComesOnceAnEpoch() {
        assertThat(flat(Batches.shuffled(1001, 16, 3, 5)).sorted().toArray())
                .isEqualTo(IntStream.range(0, 1001).toArray());
    }

    @Test
    void orderDependsOnSeedAndEpochAlone() {
        int[] order = flat(Batches.shuffled(100, 16, 0, 0)).toArray();
        assertThat(flat(Batches.shuffled(100, 7, 0, 0)).toArray())
                .as("not on the batch")
                .isEqualTo(order);
        assertThat(flat(Batches.shuffled(100, 16, 0, 1)).toArray()).isNotEqualTo(order);
        assertThat(flat(Batches.shuffled(100, 16, 1, 0)).toArray()).isNotEqualTo(order);
    }

    @Test
    void orderStaysTheSameInAllVersions() {
        // build-scripts/fixtures/batches.py 10 42 0
        assertThat(flat(Batches.shuffled(10, 4, 42, 0)).toArray()).containsExactly(6, 3, 4, 0, 1, 7, 5, 8, 2, 9);
    }

    @Test
    void batchOfNoExamplesIsRefused() {
        assertThatThrownBy(() -> Batches.inOrder(3, 0)).isInstanceOf(IllegalArgumentException.class);
    }

    private static IntStream flat(List<int[]> batches) {
        return batches.stream().flatMapToInt(Arrays::stream);
    }

    @Test
    void batchesOfTokensAreFilledInTheOrder() {
        int[] tokens = {3, 4, 3, 12, 1, 9, 2};

        assertThat(Batches.inOrder(tokens, 10))
                .as("the row of 12 is a batch by itself")
                .containsExactly(new int[] {0, 1, 2}, new int[] {3}, new int[] {4, 5}, new int[] {6});
        assertThat(Batches.inOrder(new int[0], 10)).isEmpty();
        assertThat(flat(Batches.shuffled(new int[100], 7, 3, 2)).toArray())
                .as("the order of batches of rows")
                .isEqualTo(flat(Batches.shuffled(100, 7, 3, 2)).toArray());
        assertThatThrownBy(() -> Batches.inOrder(tokens, 0)).isInstanceOf(IllegalArgumentException.class);
    }
}
