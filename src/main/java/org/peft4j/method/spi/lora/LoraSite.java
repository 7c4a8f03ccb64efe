package org.peft4j.method.spi.lora;

import java.util.stream.Stream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.lora.InitLora;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.EmbeddingPoint;
import org.peft4j.nn.seam.EmbeddingUpdate;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Point;
import org.peft4j.nn.seam.Points;

/**
 * Where a LoRA adapter applies: a linear layer, {@code y = W x + scale · B A dropout(x)}, or an embedding table, whose row i gets
 * {@code scale · B A_i} where A_i is the column i of A.
 */
record LoraSite(Point<?> point, int rank, double scale) {
    private static final String LINEAR_A = ".lora_A.weight";
    private static final String LINEAR_B = ".lora_B.weight";
    private static final String TABLE_A = ".lora_embedding_A";
    private static final String TABLE_B = ".lora_embedding_B";

    /** Every point of a model where LoRA may apply. */
    static Stream<Point<?>> points(Points points) {
        return Stream.concat(points.linears().stream(), points.all(EmbeddingPoint.class).stream());
    }

    /** The module that a parameter named A belongs to; null if it is no A. */
    static @Nullable String moduleOfA(String parameter) {
        for (String name : new String[] {LINEAR_A, TABLE_A}) {
            if (parameter.endsWith(name)) {
                return parameter.substring(0, parameter.length() - name.length());
            }
        }
        return null;
    }

    /** Columns of A. */
    static long in(Point<?> point) {
        return point instanceof LinearPoint linear ? linear.in() : ((EmbeddingPoint) point).rows();
    }

    private static long out(Point<?> point) {
        return point instanceof LinearPoint linear ? linear.out() : ((EmbeddingPoint) point).width();
    }

    long elements() {
        return rank * (in(point) + out(point));
    }

    /** Adds the parameters and the claim. The one of A and B that begins as 0 is B; at a table A, as in Hugging Face PEFT. */
    void claim(Adapter.Builder builder, LoraConfig config, long seed) {
        String path = point.path();
        long in = in(point);
        long out = out(point);
        if (point instanceof LinearPoint linear) {
            Parameter a = Parameter.of(
                    path + LINEAR_A,
                    "lora_A",
                    () -> config.init() == InitLora.GAUSSIAN
                            ? Init.normal(seed, path + LINEAR_A, 1.0 / rank, rank, in)
                            : Init.kaiming(seed, path + LINEAR_A, rank, in));
            Parameter b = Parameter.of(path + LINEAR_B, "lora_B", () -> Tensors.zeros(out, rank));
            builder.parameter(a).parameter(b).claim(linear, LowRank.of(a, b, scale, config.dropout()));
        } else {
            Parameter a = Parameter.of(path + TABLE_A, "lora_A", () -> Tensors.zeros(rank, in));
            Parameter b = Parameter.of(path + TABLE_B, "lora_B", () -> Init.normal(seed, path + TABLE_B, 1, out, rank));
            builder.parameter(a).parameter(b).claim((EmbeddingPoint) point, new TableUpdate(a, b, scale));
        }
    }

    /** What an embedding table's rows get; {@link #ofTable} is the same for all of them. */
    record TableUpdate(Parameter a, Parameter b, double scale) implements EmbeddingUpdate {
        @Override
        public Tensor of(Tensor indexes) {
            Tensor columns = torch.embedding(a.value().t(), indexes);
            return columns.matmul(b.value().t()).mul(new Scalar(scale));
        }

        Tensor ofTable() {
            Tensor product = b.value().detach().matmul(a.value().detach());
            return product.t().mul(new Scalar(scale));
        }
    }
}
