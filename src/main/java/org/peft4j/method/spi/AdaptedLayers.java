package org.peft4j.method.spi;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LinearClaim;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.StepHook;

/**
 * The linear layers that a {@link LinearMethod} adapts, in the model's order, while it gives them tensors and claims. Of an adapter
 * that is read, tensors that are not trained come from its file, and those that are get the file's values afterwards.
 */
public final class AdaptedLayers {
    /** What a file and its config have before tensors of no layer, such as {@code base_model.vera_A}. */
    public static final String SHARED = PeftKeys.INPUT;

    /** A file's tensors by path. */
    record Source(AdapterFile file, Map<String, TensorData> byPath) {}

    private final Adapter.Builder builder;
    private final Points points;
    private final List<LinearPoint> linears;
    private final long seed;
    private final @Nullable Source source;
    private final Map<String, Tensor> shared = new HashMap<>();

    AdaptedLayers(
            Adapter.Builder builder, Points points, List<LinearPoint> linears, long seed, @Nullable Source source) {
        this.builder = builder;
        this.points = points;
        this.linears = linears;
        this.seed = seed;
        this.source = source;
    }

    /** Each layer. */
    public List<Layer> all() {
        return linears.stream().map(Layer::new).toList();
    }

    /** The adapter's rows are of tasks; see {@link Adapter.Builder#tasks}. */
    public void tasks(int count, int usual) {
        builder.tasks(count, usual);
    }

    /** Whether the adapter comes from a file. */
    public boolean read() {
        return source != null;
    }

    /** The shape that the file has for a layer's or a shared tensor; null if there is no file, or no such tensor in it. */
    public long @Nullable [] shapeInFile(String path) {
        TensorData data = source == null ? null : source.byPath().get(path);
        return data == null
                ? null
                : data.shape().stream().mapToLong(Long::longValue).toArray();
    }

    /** An error in the tensors of the adapter's file. */
    public RuntimeException malformed(String reason) {
        return source == null ? new IllegalStateException(reason) : PeftTensors.malformed(source.file(), reason);
    }

    /** Asks something of each step that trains the adapter. */
    public void hook(StepHook hook) {
        builder.hook(hook);
    }

    /** The most inputs that a layer has. */
    public long mostIn() {
        return linears.stream().mapToLong(LinearPoint::in).max().orElse(0);
    }

    /** The most outputs that a layer has. */
    public long mostOut() {
        return linears.stream().mapToLong(LinearPoint::out).max().orElse(0);
    }

    /** A trained tensor that the layers share. */
    public Parameter trained(String name, FirstValues initial) {
        return add(SHARED + name, name, initial);
    }

    /** A tensor that layers of one size share, that nobody trains and no file has; made once, whoever asks first. */
    public Tensor shared(String name, Supplier<Tensor> values, long... shape) {
        Tensor known = shared.get(name);
        if (known == null) {
            known = constant(name, false, values, shape);
            shared.put(name, known);
        }
        return known;
    }

    /** A tensor that the layers share and nobody trains; see {@link Layer#constant}. */
    public Tensor constant(String name, boolean saved, Supplier<Tensor> values, long... shape) {
        return fixed(SHARED + name, saved, values, shape);
    }

    private Parameter add(String path, String group, FirstValues initial) {
        Parameter parameter = Parameter.of(path, group, () -> initial.of(seed, path));
        builder.parameter(parameter);
        return parameter;
    }

    private Tensor fixed(String path, boolean saved, Supplier<Tensor> values, long... shape) {
        TensorData data = source == null ? null : source.byPath().get(path);
        if (saved && source != null && data == null) {
            throw PeftTensors.malformed(
                    source.file(), "adapter lacks the tensor " + path + PeftTensors.has(source.file()));
        }
        return builder.constant(path, data == null ? values : () -> of(data, shape), saved);
    }

    private Tensor of(TensorData data, long... shape) {
        List<Long> expected = Arrays.stream(shape).boxed().toList();
        AdapterFile file = source == null ? null : source.file();
        if (file != null && !data.shape().equals(expected)) {
            throw PeftTensors.malformed(
                    file, "tensor " + data.name() + " must have shape " + expected + ", has " + data.shape());
        }
        if (PeftTensors.isWhole(data)) {
            return ofLongs(PeftTensors.wholeNumbers(data)).view(shape);
        }
        return Tensors.ofFloats(PeftTensors.floats(Objects.requireNonNull(file), data), shape);
    }

    private static Tensor ofLongs(long[] values) {
        return Tensors.ofLongs(values, values.length);
    }

    /** A layer that gets tensors and claims. */
    public final class Layer {
        private final LinearPoint point;

        private Layer(LinearPoint point) {
            this.point = point;
        }

        /** The layer's path. */
        public String path() {
            return point.path();
        }

        /** The path of one of its tensors. */
        public String path(String suffix) {
            return point.path() + "." + suffix;
        }

        public long in() {
            return point.in();
        }

        public long out() {
            return point.out();
        }

        /** The frozen W [out, in], float32, where the model is. */
        public Tensor weight() {
            return points.device().move(points.tensors().get(path("weight")).value(), ScalarType.Float);
        }

        /**
         * A trained tensor; its group is the suffix up to the first dot.
         *
         * @param suffix its name behind the layer's path, such as {@code vera_lambda_b}
         */
        public Parameter trained(String suffix, FirstValues initial) {
            int dot = suffix.indexOf('.');
            return add(path(suffix), dot < 0 ? suffix : suffix.substring(0, dot), initial);
        }

        /**
         * A tensor that nobody trains: the file's where it has one, else what is made. Floats are float32, indexes int64.
         *
         * @param saved whether the adapter's file has it
         * @param shape that it must have
         */
        public Tensor constant(String suffix, boolean saved, Supplier<Tensor> values, long... shape) {
            return fixed(path(suffix), saved, values, shape);
        }

        /** Claims the layer. */
        public void claim(LinearClaim claim) {
            builder.claim(point, claim);
        }
    }
}
