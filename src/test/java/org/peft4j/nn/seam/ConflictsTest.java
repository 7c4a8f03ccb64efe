package org.peft4j.nn.seam;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.peft4j.error.ConfigException;
import org.peft4j.nn.Linear;
import org.peft4j.nn.LinearGroup;
import org.peft4j.nn.Tensors;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/** Claims of two adapters (or one) that cannot hold for the same rows are refused before anything is computed. */
class ConflictsTest {
    static {
        Ops.kernels(); // loads libtorch
    }

    private static final LinearPoint QUERY = new LinearPoint("attention.query", 3, 2, false);
    private static final EmbeddingPoint WORDS = new EmbeddingPoint("words", 9, 2, true, false);
    private static final KeyValuePoint ATTENTION = new KeyValuePoint("attention", 0, 1, 2);

    private final TensorPoint weight = new TensorPoint("attention.query.weight", Tensors.zeros(2, 3));
    private final TensorPoint bias = new TensorPoint("attention.query.bias", Tensors.zeros(2));
    private final List<Adapter> made = new ArrayList<>();
    private final Packing rows = Packing.of(2, 1);

    @AfterEach
    void close() {
        made.forEach(Adapter::close);
    }

    private Adapter adapter(String name, Consumer<Adapter.Builder> claims) {
        Adapter.Builder builder = Adapter.builder(name, Device.CPU);
        claims.accept(builder);
        Adapter adapter = builder.build();
        made.add(adapter);
        return adapter;
    }

    private static Parameter parameter(String path, long... shape) {
        return Parameter.of(path, "test", () -> Tensors.zeros(shape));
    }

    private static void lora(Adapter.Builder builder) {
        Parameter a = parameter("attention.query.lora_A", 1, 3);
        Parameter b = parameter("attention.query.lora_B", 2, 1);
        builder.parameter(a).parameter(b).claim(QUERY, LowRank.of(a, b, 1, 0));
    }

    private void replaced(Adapter.Builder builder) {
        builder.claim(weight, parameter(weight.path(), 2, 3));
    }

    private void replacedBias(Adapter.Builder builder) {
        builder.claim(bias, parameter(bias.path(), 2));
    }

    private static void prefix(Adapter.Builder builder) {
        builder.claim(ATTENTION, new PrefixKeyValues() {
            @Override
            public KeyValues keyValues(ForwardContext context) {
                return new KeyValues(Tensors.zeros(1, 1, 2), Tensors.zeros(1, 1, 2));
            }

            @Override
            public int count() {
                return 1;
            }
        });
    }

    private void refused(Adapter one, Adapter other, String... pieces) {
        assertThatThrownBy(() -> ForwardContext.inference(rows, one, other))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll("'" + one.name() + "'", "'" + other.name() + "'", "different rows")
                .hasMessageContainingAll(pieces);
        assertThatThrownBy(() -> ForwardContext.training(rows, 1, one, other)).isInstanceOf(ConfigException.class);
        assertThatThrownBy(() -> ForwardContext.inference(rows, other, one))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll("'" + one.name() + "'", "'" + other.name() + "'");
        assertThatCode(() -> ForwardContext.inference(rows, Arrays.asList(one, other))
                        .close())
                .as("they may have different rows")
                .doesNotThrowAnyException();
    }

    @Test
    void twoReplacementsOfATensor() {
        refused(
                adapter("mails", this::replaced),
                adapter("tickets", this::replaced),
                "both replace attention.query.weight");
        refused(
                adapter("mails", this::replacedBias),
                adapter("tickets", this::replacedBias),
                "both replace attention.query.bias");
    }

    @Test
    void aLowRankUpdateOfAReplacedWeight() {
        refused(
                adapter("mails", this::replaced),
                adapter("tickets", ConflictsTest::lora),
                "the first replaces attention.query.weight",
                "the second adds a low-rank update");
    }

    @Test
    void twoPrefixesOfOneAttention() {
        refused(
                adapter("mails", ConflictsTest::prefix),
                adapter("tickets", ConflictsTest::prefix),
                "both act on keys and values of attention");
    }

    private static void scaled(Adapter.Builder builder) {
        Parameter factors = parameter("attention.query.ia3_l", 2);
        builder.parameter(factors).claim(QUERY, (OutputScale) factors::value);
    }

    private static void rows(Adapter.Builder builder, long... indexes) {
        Parameter rows = parameter("words.trainable_tokens_delta", indexes.length, 2);
        List<Long> numbers = Arrays.stream(indexes).boxed().toList();
        builder.parameter(rows).claim(WORDS, new TokenRows(numbers, rows));
    }

    @Test
    void aLayerThatOneScalesAndTheOtherUpdates() {
        refused(
                adapter("mails", ConflictsTest::scaled),
                adapter("tickets", ConflictsTest::lora),
                "scale or turn attention.query and add to it");
        try (Adapter both = adapter(
                "mails",
                builder -> { // in one adapter the formula of LinearClaim says which comes first
                    lora(builder);
                    scaled(builder);
                })) {
            assertThat(both.at(QUERY)).hasSize(2);
        }
    }

    @Test
    void aScaledLayerWhoseWeightIsReplaced() {
        refused(
                adapter("mails", this::replaced),
                adapter("tickets", ConflictsTest::scaled),
                "replaces attention.query.weight");
    }

    @Test
    void theSameRowOfATable() {
        refused(
                adapter("mails", builder -> rows(builder, 7, 3)),
                adapter("tickets", builder -> rows(builder, 4, 3)),
                "both replace row 3 of words");
        refused(
                adapter("mails", builder -> rows(builder, 7)),
                adapter("tickets", builder -> builder.claim(WORDS, (EmbeddingUpdate) indexes -> indexes)),
                "replace rows of words and add to rows of it");
    }

    @Test
    void theSecondAndThirdOfThree() {
        Adapter alone = adapter("alone", ConflictsTest::prefix);
        Adapter one = adapter("one", this::replaced);
        Adapter other = adapter("other", ConflictsTest::lora);
        assertThatThrownBy(() -> ForwardContext.inference(rows, alone, one, other))
                .hasMessageContainingAll("'one'", "'other'");
    }

    @Test
    void whatAddsUpIsTaken() {
        Adapter lora = adapter("lora", ConflictsTest::lora);
        for (Adapter other : List.of(
                adapter("lora, too", ConflictsTest::lora),
                adapter("a bias", this::replacedBias),
                adapter("a prefix", ConflictsTest::prefix),
                adapter("rows", builder -> rows(builder, 1)))) {
            assertThatCode(() -> ForwardContext.inference(rows, lora, other).close())
                    .doesNotThrowAnyException();
        }
    }

    @Test
    void scalesMultiplyAndRowsStandSideBySide() {
        for (List<Adapter> both : List.of(
                List.of(adapter("one", ConflictsTest::scaled), adapter("two", ConflictsTest::scaled)),
                List.of(adapter("low", builder -> rows(builder, 1)), adapter("high", builder -> rows(builder, 2))))) {
            assertThatCode(() -> ForwardContext.inference(rows, both.get(0), both.get(1))
                            .close())
                    .doesNotThrowAnyException();
        }
    }

    @Test
    void oneAdapterThatReplacesAndUpdatesAWeight() {
        assertThatThrownBy(() -> adapter("mails", builder -> {
                    lora(builder);
                    replaced(builder);
                }))
                .isInstanceOf(ConfigException.class)
                .hasMessageContainingAll("'mails'", "attention.query.weight", "targets", "modules_to_save");
    }

    @Test
    void layersOfAGroupWithAndWithoutBias() {
        Linear with = new Linear("attention.query", weight.value(), bias.value());
        Linear without = new Linear("attention.key", weight.value(), null);
        for (Linear[] layers : new Linear[][] {{with, without}, {without, with}}) {
            assertThatThrownBy(() -> LinearGroup.of(layers))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("attention.query has one and attention.key has not");
        }
        LinearGroup.of(without, without).close();
    }
}
