package org.peft4j.model;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.function.IntFunction;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.DeviceException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.ElementType;
import org.peft4j.io.safetensors.TensorLocation;
import org.peft4j.io.safetensors.TensorNames;
import org.peft4j.nn.Linear;
import org.peft4j.nn.LinearGroup;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/**
 * The frozen tensors of a model directory, by the path they have in the model; shapes are checked against what the config asks
 * for. Remembers which were missing and made anew. Owns the tensors.
 *
 * <p>For a card the matrices of linear layers stay what they are in the mapped file: a {@link org.peft4j.ops.Weight} lays them out
 * there at its first product. All else is on the device.
 */
public final class FrozenTensors implements AutoCloseable {
    private final ModelDirectory directory;
    private final String prefix;
    private final ModelOptions options;
    private final Map<String, Tensor> changed;
    private final Map<String, TensorPoint> points = new LinkedHashMap<>();
    private final List<String> fresh = new ArrayList<>();
    private final List<Tensor> owned = new ArrayList<>();
    private final Map<String, Tensor> shared = new HashMap<>(); // by the path in the directory
    private final Map<List<String>, LinearGroup> groups = new HashMap<>();
    private UnaryOperator<String> source = UnaryOperator.identity();

    /**
     * @param prefix first part of the model's paths that a directory of the bare backbone lacks, such as {@code bert.}
     * @param changed tensors that take the place of the directory's, by path (a merged adapter)
     */
    public FrozenTensors(ModelDirectory directory, String prefix, ModelOptions options, Map<String, Tensor> changed) {
        this.directory = directory;
        this.prefix = prefix;
        this.options = options;
        this.changed = changed;
    }

    /**
     * Gives layers the tensors of others: what is asked for under a layer's path is the directory's under another one's, once in
     * memory for all that have it. To be said before a tensor is asked for.
     *
     * @param order for each layer the number that it has in the directory
     * @param block the beginning of a layer's paths
     */
    public void order(List<Integer> order, IntFunction<String> block) {
        source = path -> {
            for (int layer = 0; layer < order.size(); layer++) {
                String own = block.apply(layer);
                if (path.startsWith(own)) {
                    return block.apply(order.get(layer)) + path.substring(own.length());
                }
            }
            return path;
        };
    }

    /** The path that a tensor of the model has in the directory. */
    public String source(String path) {
        return source.apply(path);
    }

    /** Layers that read the same x; those whose tensors another group has share its matrix, and are closed with it. */
    public LinearGroup group(Linear... layers) {
        List<String> paths =
                Arrays.stream(layers).map(layer -> source(layer.weightPath())).toList();
        if (Arrays.stream(layers)
                .anyMatch(layer -> changed.containsKey(layer.weightPath()) || changed.containsKey(layer.biasPath()))) {
            return LinearGroup.of(layers);
        }
        LinearGroup known = groups.get(paths);
        if (known != null) {
            return known.sharedBy(layers);
        }
        LinearGroup made = LinearGroup.of(layers);
        groups.put(paths, made);
        return made;
    }

    /** How to make values that the directory does not have. */
    @FunctionalInterface
    public interface Maker {
        Tensor make(long seed, String path, long... shape);
    }

    /** A linear layer's matrix. */
    public Tensor matrix(String path, long... shape) throws IOException {
        return get(path, this::matrix, locate(path), null, shape);
    }

    /** A table that rows are taken from, in the storage type. */
    public Tensor table(String path, long... shape) throws IOException {
        return tableAs(path, path, shape);
    }

    /** A table that the directory has under another name. */
    public Tensor tableAs(String path, String name, long... shape) throws IOException {
        return get(path, values(options.storage()), locate(name), null, shape);
    }

    /** Matrices in whose place nothing can stand: who computes with them reads no claims. */
    public Tensor fixed(String path, long... shape) throws IOException {
        Tensor value = matrix(path, shape);
        points.put(path, new TensorPoint(path, value, false, true));
        return value;
    }

    /** A matrix that the directory has under another name. */
    public Tensor matrixAs(String path, String name, long... shape) throws IOException {
        return get(path, this::matrix, locate(name), null, shape);
    }

    /** A matrix [out, in] that the directory has as [in, out]. */
    public Tensor transposedMatrix(String path, long out, long in) throws IOException {
        Tensor given = changed.get(path);
        TensorLocation location = locate(path);
        if (given != null) {
            return kept(new TensorPoint(path, Scopes.owned(() -> matrix(given)), true, false));
        }
        Tensor known = shared.get(source(path));
        if (known != null) {
            return named(new TensorPoint(path, known, true, false));
        }
        if (location == null) {
            throw lacks(path);
        }
        UnaryOperator<Tensor> form = stored -> options.device().isCpu()
                ? matrix(stored).t().contiguous()
                : matrix(stored).t();
        Tensor value = load(location, path, form, in, out);
        shared.put(source(path), value);
        return kept(new TensorPoint(path, value, true, false));
    }

    /** For a card as the file has it: the copy there will be the only one. */
    private Tensor matrix(Tensor stored) {
        return options.device().isCpu() ? stored.to(options.storage()) : Device.CPU.move(stored);
    }

    private UnaryOperator<Tensor> values(ScalarType type) {
        return stored -> options.device().move(stored, type);
    }

    /** A bias or a norm's scale, in the type of the activations. */
    public Tensor vector(String path, long... shape) throws IOException {
        return get(path, values(options.compute()), locate(path), null, shape);
    }

    /** A tensor of a head: made anew if the directory lacks it, or in any case. */
    public Tensor head(String path, Maker maker, boolean anew, long... shape) throws IOException {
        UnaryOperator<Tensor> form = shape.length == 1 ? values(options.compute()) : this::matrix;
        return get(path, form, anew ? null : locate(path), maker, shape);
    }

    /** The first dimension of a tensor as the directory has it; empty if it has none of this name. */
    public OptionalLong rows(String path) throws MalformedFileException {
        TensorLocation location = locate(path);
        return location == null || location.info().shape().isEmpty()
                ? OptionalLong.empty()
                : OptionalLong.of(location.info().shape().get(0));
    }

    private Tensor get(
            String path,
            UnaryOperator<Tensor> form,
            @Nullable TensorLocation location,
            @Nullable Maker maker,
            long... shape)
            throws IOException {
        Tensor given = changed.get(path);
        Tensor known = given == null && maker == null ? shared.get(source(path)) : null;
        if (known != null) {
            return named(new TensorPoint(path, known));
        }
        Tensor value;
        if (given != null) {
            value = Scopes.owned(() -> form.apply(given));
        } else if (location == null && maker != null) {
            String module = path.substring(0, path.lastIndexOf('.'));
            if (!fresh.contains(module)) {
                fresh.add(module);
            }
            value = Scopes.owned(() -> form.apply(maker.make(options.seed(), path, shape)));
        } else if (location == null) {
            throw lacks(path);
        } else {
            value = load(location, path, form, shape);
            if (maker == null) {
                shared.put(source(path), value);
            }
        }
        return kept(new TensorPoint(path, value));
    }

    private Tensor kept(TensorPoint point) {
        owned.add(point.value());
        return named(point);
    }

    private Tensor named(TensorPoint point) {
        points.put(point.path(), point);
        return point.value();
    }

    private MalformedFileException lacks(String path) throws IOException {
        return new MalformedFileException(
                directory.directory(), -1, "model lacks the tensor " + source(path) + "; it has " + directory.found());
    }

    /** Where the tensor is, with the backbone's prefix or without it. */
    private @Nullable TensorLocation locate(String name) throws MalformedFileException {
        String path = source(name);
        TensorLocation location = directory.tensors().get(path);
        TensorLocation bare = path.startsWith(prefix) ? directory.tensors().get(path.substring(prefix.length())) : null;
        if (location != null && bare != null) {
            throw TensorNames.twice(
                    location.file(), location.info().name(), bare.info().name(), path);
        }
        return location == null ? bare : location;
    }

    /** @param form what becomes of the mapped view; the view itself, where it is right as it is */
    private static Tensor load(TensorLocation location, String path, UnaryOperator<Tensor> form, long... shape)
            throws MalformedFileException {
        List<Long> expected = Arrays.stream(shape).boxed().toList();
        if (!location.info().shape().equals(expected)) {
            throw new MalformedFileException(
                    location.file(),
                    location.info().offset(),
                    "tensor " + path + " must have shape " + expected + " by config.json, has "
                            + location.info().shape());
        }
        ElementType dtype = location.info().dtype();
        if (!dtype.isFloat()) {
            throw new MalformedFileException(
                    location.file(),
                    location.info().offset(),
                    "tensor " + path + " must be one of [F64, F32, F16, BF16] to be computed with, is " + dtype);
        }
        try {
            return Scopes.owned(() -> form.apply(Ops.mapTensor(
                    location.file().toString(), location.info().offset(), shape, dtype.safetensorsName())));
        } catch (DeviceException e) {
            throw new MalformedFileException(
                    location.file(),
                    location.info().offset(),
                    "tensor " + path + " cannot be mapped into memory; was the file changed or taken away since it was"
                            + " opened?",
                    e);
        }
    }

    /** Every tensor that was asked for. */
    public Map<String, TensorPoint> points() {
        return points;
    }

    /** Modules that the directory lacks, in the order they were asked for. */
    public List<String> fresh() {
        return fresh;
    }

    @Override
    public void close() {
        owned.forEach(Tensor::close);
        owned.clear();
    }
}
