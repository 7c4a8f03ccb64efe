package org.peft4j.train;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

/** The arithmetic, on a model of 8 billion numbers such as Llama 3's. */
class MemoryNeedTest {
    private static final long OUTPUTS = 4096 + 1024 + 1024 + 4096 + 14336 + 14336 + 4096;
    private static final MemoryNeed.Sizes SIZES = new MemoryNeed.Sizes(32, 4096, OUTPUTS, 14336, 32);
    private static final long WEIGHTS = 16_060_522_496L;
    private static final long TRAINED = 41_943_040;
    private static final MemoryNeed.Numbers ADAPTER = new MemoryNeed.Numbers(TRAINED, 2 * TRAINED, 0);
    private static final MemoryNeed NEED = MemoryNeed.of(SIZES, WEIGHTS, ADAPTER, 2, true);

    /** Bytes that a token leaves in a block: outputs, 4 rows of the width, what the last layer reads, 32 log-sum-exps. */
    private static final long BLOCK = 2 * (OUTPUTS + 4 * 4096 + 14336) + 4 * 32;

    @Test
    void partsAddUp() {
        assertThat(BLOCK).isEqualTo(147_584);
        assertThat(NEED.adapter()).isEqualTo(TRAINED * 18);
        assertThat(NEED.perToken()).isEqualTo(32 * BLOCK);
        long fixed = WEIGHTS + TRAINED * 18 + MemoryNeed.HEAD;
        assertThat(NEED.total(0, false)).isEqualTo(fixed);
        assertThat(NEED.total(8192, false)).isEqualTo(fixed + 8192 * 33 * BLOCK);
        assertThat(NEED.total(8192, true)).isEqualTo(fixed + 8192 * (32 * 2 * 4096 + 2 * BLOCK));
    }

    /** All numbers are there, and read as a copy; gradients and moments are those of the half that is trained. */
    @Test
    void ofAHalfGradientsAndMomentsAreHalf() {
        MemoryNeed.Numbers numbers = new MemoryNeed.Numbers(TRAINED / 2, TRAINED, TRAINED / 2);
        MemoryNeed half = MemoryNeed.of(SIZES, WEIGHTS, numbers, 2, true);
        assertThat(half.adapter()).isEqualTo(TRAINED * (4 + 2) + TRAINED / 2 * 12);
    }

    @Test
    void asManyTokensFitAsAreSaidToFit() {
        for (boolean recomputed : new boolean[] {false, true}) {
            long free = 40_000_000_000L;
            long tokens = NEED.tokensIn(free, recomputed);
            assertThat(NEED.total(tokens, recomputed)).isLessThanOrEqualTo(free);
            assertThat(NEED.total(tokens + 1, recomputed)).isGreaterThan(free);
        }
        assertThat(NEED.tokensIn(WEIGHTS, false)).isZero();
    }

    /** 4 bytes of each number that is kept; no gradient of what stays. */
    @Test
    void otherOptimisersKeepLess() {
        assertThat(new MemoryNeed.Numbers(10, 0, 0).bytes(2)).as("sgd").isEqualTo(10 * (8 + 2));
        assertThat(new MemoryNeed.Numbers(10, 10, 0).bytes(2)).as("lion").isEqualTo(10 * (8 + 4 + 2));
        assertThat(new MemoryNeed.Numbers(6, 12, 4).bytes(4)).as("lora-fa").isEqualTo(6 * (8 + 8 + 4) + 4 * (4 + 4));
    }

    @Test
    void headsOfClassesNeedNoLogits() {
        assertThat(MemoryNeed.of(SIZES, WEIGHTS, ADAPTER, 2, false).head()).isZero();
    }

    @Test
    void refusalSaysWhatIsNeededAndWhatFits() {
        MemoryNeed.Batch batch = new MemoryNeed.Batch(16 * 1024, 1024, false, false);
        assertThat(NEED.refusal(batch, 40_000_000_000L, "cuda:0", null))
                .isEqualTo(
                        "the run needs about 97.1 GB on cuda:0, of which 40.0 GB are free: weights 16.1 GB, the adapter with its"
                                + " optimiser 755.0 MB, a step of 16,384 tokens 80.3 GB; training.batch_size 4 or training.checkpointing"
                                + " block would fit");
        assertThat(NEED.refusal(new MemoryNeed.Batch(16 * 1024, 1024, true, false), 40_000_000_000L, "cuda:0", null))
                .contains("training.batch_tokens 4650 or");
        assertThat(NEED.refusal(new MemoryNeed.Batch(16 * 1024, 1024, false, true), 20_000_000_000L, "cuda:0", null))
                .endsWith("training.batch_size 4 would fit");
        assertThat(NEED.refusal(batch, 19_000_000_000L, "cuda:0", null))
                .endsWith("training.checkpointing block with training.batch_size 2 would fit");
        assertThat(NEED.refusal(batch, 10_000_000_000L, "cuda:0", null))
                .contains("not even one text fits")
                .doesNotContain("bfloat16");
    }

    @Test
    void refusalOfFloat32SaysWhatBfloat16WouldNeed() {
        MemoryNeed wide = MemoryNeed.of(SIZES, 2 * WEIGHTS, ADAPTER, 4, true);
        MemoryNeed.Batch batch = new MemoryNeed.Batch(2048, 1024, false, false);
        assertThat(wide.refusal(batch, 44_000_000_000L, "cuda:0", NEED))
                .endsWith("training.batch_size 1 or training.checkpointing block or model.dtype bfloat16 would fit");
        assertThat(wide.refusal(batch, 20_000_000_000L, "cuda:0", NEED))
                .contains("not even one text fits: try model.dtype bfloat16, a smaller task.max_length");
    }
}
