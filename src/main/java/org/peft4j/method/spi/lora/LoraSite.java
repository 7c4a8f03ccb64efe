package org.peft4j.method.spi.lora;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.lora.InitLora;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.BiasDelta;
import org.peft4j.nn.seam.EmbeddingPoint;
import org.peft4j.nn.seam.EmbeddingUpdate;
import org.peft4j.nn.seam.ExpertsPoint;
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
    static final String LINEAR_A = ".lora_A.weight";
    static final String LINEAR_B = ".lora_B.weight";
    private static final String FIRST_A = ".lora_A.first";
    private static final String FIRST_B = ".lora_B.first";
    private static final String MAGNITUDE = ".lora_magnitude_vector";
    private static final String SQUARES = MAGNITUDE + ".squares";
    private static final String BIAS = ".lora_B.bias";
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

    /** The path of a linear layer's A. */
    static String pathOfA(LinearPoint layer) {
        return layer.path() + LINEAR_A;
    }

    /** The path of a linear layer's B. */
    static String pathOfB(LinearPoint layer) {
        return layer.path() + LINEAR_B;
    }

    /** Columns of A. */
    static long in(Point<?> point) {
        if (point instanceof ExpertsPoint experts) {
            return experts.in();
        }
        return point instanceof LinearPoint linear ? linear.in() : ((EmbeddingPoint) point).rows();
    }

    /** How many pairs of A and B lie in one. */
    static long pairs(Point<?> point) {
        return point instanceof ExpertsPoint experts ? experts.experts() : 1;
    }

    private static long out(Point<?> point) {
        if (point instanceof ExpertsPoint experts) {
            return experts.out();
        }
        return point instanceof LinearPoint linear ? linear.out() : ((EmbeddingPoint) point).width();
    }

    long elements(LoraConfig config) {
        long vectors = (config.dora() ? out(point) : 0) + (config.loraBias() ? out(point) : 0);
        return pairs(point) * rank * (in(point) + out(point)) + vectors;
    }

    /**
     * Refuses settings that do not fit this place.
     *
     * @throws IllegalArgumentException naming the setting
     */
    void check(LoraConfig config) {
        if (point instanceof EmbeddingPoint
                && (config.dora() || config.loraBias() || config.init().takesFromWeight())) {
            String setting = config.dora()
                    ? "dora"
                    : config.loraBias()
                            ? "lora_bias"
                            : "init " + config.init().name().toLowerCase(Locale.ROOT);
            throw new IllegalArgumentException("targets must not have the table " + point.path() + " with " + setting
                    + ", which is for linear layers alone");
        }
        if (config.activated() && !(point instanceof LinearPoint linear && !linear.head())) {
            throw new IllegalArgumentException(
                    "targets must not have " + point.path() + " with alora_invocation_tokens, which are"
                            + " for the linear layers of blocks: tables and heads are read for other rows than those of texts");
        }
        int pairs = config.init() == InitLora.LORA_GA ? 2 : 1; // A and B have singular vectors of their own there
        long most = Math.min(in(point), out(point)) / pairs;
        if (config.init().takesFromWeight() && rank > most) {
            throw new IllegalArgumentException("r must be at most " + most + " for " + point.path() + " with init "
                    + config.init().name().toLowerCase(Locale.ROOT)
                    + (pairs == 1
                            ? ", which takes it from a weight with as many singular values, got "
                            : ", which takes twice of it from a gradient with as many singular values, got ")
                    + rank);
        }
    }

    /** The first A and B of linear layers. */
    @FunctionalInterface
    interface Starts {
        /** @param w the frozen W [out, in], float32 on the CPU if the start takes from it */
        LoraStart of(LoraSite site, Tensor w);
    }

    /** Adds the parameters and the claims. The one of A and B that begins as 0 is B; at a table A, as in Hugging Face PEFT. */
    void claim(Adapter.Builder builder, LoraConfig config, Points points, long seed, @Nullable Starts starts) {
        if (point instanceof LinearPoint linear) {
            claim(builder, config, linear, points, seed, starts);
            return;
        }
        if (point instanceof ExpertsPoint experts) {
            builder.claim(experts, LoraOfExperts.of(builder, config, experts, rank, scale, seed));
            return;
        }
        String path = point.path();
        Parameter a = Parameter.of(path + TABLE_A, "lora_A", () -> Tensors.zeros(rank, in(point)));
        Parameter b =
                Parameter.of(path + TABLE_B, "lora_B", () -> Init.normal(seed, path + TABLE_B, 1, out(point), rank));
        builder.parameter(a).parameter(b).claim((EmbeddingPoint) point, new TableUpdate(a, b, scale));
    }

    private void claim(
            Adapter.Builder builder,
            LoraConfig config,
            LinearPoint linear,
            Points points,
            long seed,
            @Nullable Starts starts) {
        String path = point.path();
        Tensor frozen = points.tensors().get(path + ".weight").value();
        Supplier<Tensor> weight = () -> points.device().move(frozen, ScalarType.Float);
        Parameter a;
        Parameter b;
        try (PointerScope scope = new PointerScope()) {
            Tensor onCpu = config.init().takesFromWeight() ? Tensors.onCpu(frozen, ScalarType.Float) : frozen;
            LoraStart start = starts == null
                    ? LoraStart.of(config, seed, path + LINEAR_A, path + LINEAR_B, rank, onCpu, scale)
                    : starts.of(this, onCpu);
            a = Parameter.of(path + LINEAR_A, "lora_A", start::a);
            b = Parameter.of(path + LINEAR_B, "lora_B", start::b);
        }
        LowRank update = LowRank.of(a, b, scale, config.dropout(), config.aloraInvocationTokens());
        builder.parameter(a).parameter(b).claim(linear, update);
        if (config.init().takesFromWeight()) {
            Tensor firstA = builder.constant(path + FIRST_A, a::value, false);
            Tensor firstB = builder.constant(path + FIRST_B, b::value, false);
            builder.claim(linear, new Taken(firstA, firstB, -scale, config.aloraInvocationTokens()));
        }
        if (config.dora()) {
            Tensor squares = builder.constant(
                    path + SQUARES, () -> DoraMagnitude.squares(Tensors.onCpu(frozen, ScalarType.Float)), false);
            Parameter m = Parameter.of(path + MAGNITUDE, "lora_magnitude_vector", squares::sqrt);
            builder.parameter(m).claim(linear, new DoraMagnitude(m, update, weight, squares));
        }
        if (config.loraBias()) {
            Parameter bias = Parameter.of(path + BIAS, "lora_B", () -> Tensors.zeros(linear.out()));
            builder.parameter(bias).claim(linear, (BiasDelta) () -> bias.value().mul(new Scalar(scale)));
        }
    }

    /** What A and B began with, subtracted, so that nothing changes before training. */
    private record Taken(Tensor a, Tensor b, double scale, List<Integer> invocation) implements LowRank {
        @Override
        public double dropout() {
            return 0;
        }
    }

    /**
     * A file's A and B in place of those that begin with a part of W: both, one behind the other, of twice the rank.
     *
     * @param tensors by name; those of A and B are replaced
     * @param key the name that a path has in files
     */
    static void joinTaken(Adapter adapter, Map<String, TensorData> tensors, UnaryOperator<String> key) {
        adapter.constants().forEach((path, first) -> {
            boolean isA = path.endsWith(FIRST_A);
            if (!isA && !path.endsWith(FIRST_B)) {
                return;
            }
            String module = path.substring(0, path.length() - FIRST_A.length());
            String name = module + (isA ? LINEAR_A : LINEAR_B);
            try (PointerScope scope = new PointerScope()) {
                Tensor trained = adapter.parameters().get(name).value().detach();
                TensorVector both = new TensorVector(
                        trained, isA ? first.value() : first.value().neg());
                Tensor joined = torch.cat(both, isA ? 0 : 1);
                String inFile = key.apply(name);
                tensors.put(inFile, PeftTensors.data(inFile, joined));
            }
        });
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
