package org.peft4j.nn.seam;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.peft4j.nn.Tensors;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/** Rows that adapters insert before texts: where they stand, which positions they take, and how they get gradients. */
class InsertedRowsTest {
    static {
        Ops.kernels(); // loads libtorch
    }

    private static final SequencePoint FRONT =
            new SequencePoint("embeddings", new EmbeddingPoint("embeddings.words", 100, 1, true, false), 1);

    /** An adapter that inserts one row for each value. */
    private static Adapter inserting(String name, int prefix, float... values) {
        Parameter rows = Parameter.of("prompt", "prompt", () -> Tensors.ofFloats(values, values.length, 1));
        return Adapter.builder(name, Device.CPU)
                .parameter(rows)
                .positions(prefix)
                .claim(FRONT, new InsertedRows() {
                    @Override
                    public int count() {
                        return values.length;
                    }

                    @Override
                    public Tensor rows(ForwardContext context) {
                        return rows.value();
                    }
                })
                .build();
    }

    @Test
    void standBeforeTheTextsOfTheirAdapter() {
        try (PointerScope scope = new PointerScope();
                Adapter two = inserting("two", 0, 10, 11);
                Adapter one = inserting("one", 3, 20);
                ForwardContext context =
                        ForwardContext.inference(Packing.of(2, 1, 3, 1), Arrays.asList(two, null, one, two))) {
            assertThat(two.positions()).isEqualTo(2);
            assertThat(one.positions()).isEqualTo(4);
            assertThat(context.text()).hasToString("Packing[0, 2, 3, 6, 7]");
            assertThat(context.packing()).hasToString("Packing[0, 4, 5, 9, 12]");
            Tensor text = Tensors.ofFloats(new float[] {1, 2, 3, 4, 5, 6, 7}, 7, 1);
            assertThat(Tensors.toFloats(context.insert(FRONT, text)))
                    .containsExactly(10, 11, 1, 2, 3, 20, 4, 5, 6, 10, 11, 7);
            assertThat(context.positions()).containsExactly(0, 1, 2, 3, 0, 3, 4, 5, 6, 0, 1, 2);
            assertThat(List.of(context.rowOf(0, 1), context.rowOf(1, 0), context.rowOf(2, 0), context.rowOf(3, 0)))
                    .containsExactly(3L, 4L, 6L, 11L);
        }
    }

    @Test
    void readRowsKnowThem() {
        try (PointerScope scope = new PointerScope();
                Adapter two = inserting("two", 0, 10, 11);
                ForwardContext context = ForwardContext.inference(Packing.of(2, 1), Arrays.asList(two, null))) {
            Tensor h = Tensors.ofFloats(new float[] {10, 11, 1, 2, 3}, 5, 1);
            assertThat(Tensors.toFloats(ReadRows.TEXT.select(h, context))).containsExactly(1, 2, 3);
            assertThat(ReadRows.TEXT.packing(context)).hasToString("Packing[0, 2, 3]");
            assertThat(Tensors.toFloats(ReadRows.FIRST.select(h, context))).containsExactly(10, 3);
            assertThat(Tensors.toFloats(ReadRows.ALL.select(h, context))).containsExactly(10, 11, 1, 2, 3);
            assertThat(Tensors.toFloats(ReadRows.last(1).select(h, context))).containsExactly(2, 3);
        }
    }

    @Test
    void thoseOfSeveralAdaptersStandInTheirOrder() {
        try (PointerScope scope = new PointerScope();
                Adapter first = inserting("first", 0, 10);
                Adapter second = inserting("second", 0, 20, 21);
                ForwardContext context = ForwardContext.inference(Packing.of(1), first, second)) {
            Tensor text = Tensors.ofFloats(new float[] {1}, 1, 1);
            assertThat(Tensors.toFloats(context.insert(FRONT, text))).containsExactly(10, 20, 21, 1);
        }
    }

    @Test
    void withoutThemNothingIsCopied() {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(Packing.of(2, 1))) {
            Tensor text = Tensors.ofFloats(new float[] {1, 2, 3}, 3, 1);
            assertThat(context.packing()).isSameAs(context.text());
            assertThat(context.insert(FRONT, text)).isSameAs(text);
        }
    }

    @Test
    void getTheSumOfTheirTextsGradients() {
        try (PointerScope scope = new PointerScope();
                Adapter two = inserting("two", 0, 10, 11);
                ForwardContext context =
                        ForwardContext.training(Packing.of(1, 1, 1), 1, Arrays.asList(two, null, two))) {
            Tensor all = context.insert(FRONT, Tensors.zeros(3, 1));
            Tensor weights = Tensors.ofFloats(new float[] {1, 2, 4, 8, 16, 32, 64}, 7, 1);
            all.mul(weights).sum().backward();
            assertThat(Tensors.toFloats(two.parameters().get("prompt").value().grad()))
                    .containsExactly(1 + 16, 2 + 32);
        }
    }
}
