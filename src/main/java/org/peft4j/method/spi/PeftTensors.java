package org.peft4j.method.spi;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.safetensors.ElementType;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.io.safetensors.TensorNames;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.TensorPoint;

/** Parameters as tensors of an adapter file and back. */
public final class PeftTensors {
    private PeftTensors() {}

    /** All parameters under the names that {@code key} gives to their paths. */
    public static Map<String, TensorData> of(Adapter adapter, UnaryOperator<String> key) {
        Set<String> transposed = transposed(adapter);
        Map<String, TensorData> tensors = new LinkedHashMap<>();
        for (Parameter parameter : adapter.parameters().values()) {
            String name = key.apply(parameter.path());
            try (PointerScope scope = new PointerScope()) {
                Tensor value = transposed.contains(parameter.path())
                        ? parameter.value().t().contiguous()
                        : parameter.value();
                tensors.put(name, data(name, value));
            }
        }
        adapter.constants().forEach((path, constant) -> {
            if (constant.saved()) {
                String name = key.apply(path);
                tensors.put(name, fixed(name, constant.value()));
            }
        });
        return tensors;
    }

    /** Numbers as a file's float32 tensor. */
    public static TensorData data(String name, Tensor value) {
        List<Long> shape = Arrays.stream(Tensors.shape(value)).boxed().toList();
        return new TensorData(name, ElementType.F32, shape, Tensors.toBytes(value));
    }

    /** Floats are float32 in files, and indexes int32. */
    private static TensorData fixed(String name, Tensor value) {
        if (value.is_floating_point()) {
            return data(name, value);
        }
        List<Long> shape = Arrays.stream(Tensors.shape(value)).boxed().toList();
        long[] indexes = Tensors.toLongs(value);
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(indexes.length, Integer.BYTES))
                .order(ByteOrder.LITTLE_ENDIAN);
        for (long index : indexes) {
            bytes.putInt(Math.toIntExact(index));
        }
        return new TensorData(name, ElementType.I32, shape, bytes.flip());
    }

    /** The parameters in place of matrices [out, in] that files have as [in, out]. */
    private static Set<String> transposed(Adapter adapter) {
        return adapter.claims(TensorPoint.class).keySet().stream()
                .filter(TensorPoint::transposed)
                .map(TensorPoint::path)
                .collect(Collectors.toSet());
    }

    /**
     * The names that PEFT's files have: the prefix and the path; what is trained of an adapted layer's own tensors is inside of
     * PEFT's wrapper there.
     */
    public static UnaryOperator<String> key(String prefix, Adapter adapter) {
        Set<String> adapted = adapter.claims(LinearPoint.class).keySet().stream()
                .map(LinearPoint::path)
                .collect(Collectors.toSet());
        return path -> {
            if (path.startsWith(AdaptedLayers.SHARED)) {
                return path;
            }
            String module = path.substring(0, Math.max(0, path.lastIndexOf('.')));
            return prefix
                    + (adapted.contains(module) && isOwn(path)
                            ? module + ".base_layer" + path.substring(module.length())
                            : path);
        };
    }

    private static boolean isOwn(String path) {
        return path.endsWith(".bias") || path.endsWith(".weight");
    }

    /** As {@link #load}; returns the adapter, or closes it if the file does not fit. */
    public static Adapter filled(
            Adapter adapter,
            AdapterFile file,
            Map<String, TensorData> byPath,
            UnaryOperator<String> key,
            List<String> notes)
            throws MalformedFileException {
        try {
            load(adapter, file, byPath, key, notes);
            return adapter;
        } catch (RuntimeException e) {
            adapter.close();
            throw e;
        }
    }

    /** As PEFT warns: {@code fan_in_fan_out} is said of a model whose linear layers are not stored as GPT-2's are. */
    public static void noteTransposed(AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        if (new PeftConfigReader(file).flag("fan_in_fan_out") && !points.transposed()) {
            notes.add("fan_in_fan_out is true in the adapter's config, but the model's linear layers store [out, in]:"
                    + " taken as false, as PEFT does");
        }
    }

    /**
     * Fills all parameters from the file.
     *
     * @param byPath the file's tensors by path, see {@link PeftTensorNames}
     * @param key the name that a path has in the method's files, for messages
     * @param notes collects what is passed over
     * @throws MalformedFileException if a parameter's tensor is missing, has another shape or a value that is not finite,
     *     or a tensor finds no place
     */
    public static void load(
            Adapter adapter,
            AdapterFile file,
            Map<String, TensorData> byPath,
            UnaryOperator<String> key,
            List<String> notes)
            throws MalformedFileException {
        Set<String> transposed = transposed(adapter);
        Map<String, TensorData> left = new LinkedHashMap<>(byPath);
        left.keySet().removeAll(adapter.constants().keySet());
        for (Parameter parameter : adapter.parameters().values()) {
            TensorData data = left.remove(parameter.path());
            if (data == null) {
                throw malformed(file, "adapter lacks the tensor " + key.apply(parameter.path()) + has(file));
            }
            boolean turned = transposed.contains(parameter.path());
            long[] own = parameter.shape();
            List<Long> shape = turned
                    ? List.of(own[1], own[0])
                    : Arrays.stream(own).boxed().toList();
            if (!data.shape().equals(shape)) {
                throw malformed(
                        file,
                        "tensor " + data.name() + " must have shape " + shape + " for this model, has " + data.shape()
                                + (parameter.path().contains("embeddings.")
                                        ? "; the adapter was made on the model with a vocabulary of another size: give"
                                                + " the model as it was saved then"
                                        : ""));
            }
            float[] values = floats(file, data);
            parameter.set(turned ? transposed(values, Math.toIntExact(own[0]), Math.toIntExact(own[1])) : values);
        }
        passOver(left, notes);
        if (!left.isEmpty()) {
            throw malformed(
                    file,
                    left.size() + " of " + file.tensors().size() + " tensors find no place in this model: "
                            + TensorNames.some(
                                    left.values().stream().map(TensorData::name).toList()));
        }
    }

    /** The rows x columns matrix of which these are the columns, one behind the other. */
    private static float[] transposed(float[] values, int rows, int columns) {
        float[] turned = new float[values.length];
        for (int i = 0; i < turned.length; i++) {
            turned[i] = values[i % columns * rows + i / columns];
        }
        return turned;
    }

    /** What is no floating-point tensor was not trained: a buffer such as position_ids, or of a type for other programs. */
    private static void passOver(Map<String, TensorData> left, List<String> notes) {
        left.values().removeIf(data -> {
            boolean buffer = !data.dtype().isFloat();
            if (buffer) {
                notes.add("the adapter's tensor " + data.name() + " (" + data.dtype()
                        + ") is passed over: it belongs to nothing that an adapter trains");
            }
            return buffer;
        });
    }

    /**
     * The values of a tensor that nobody trains.
     *
     * @param shape that it must have
     * @throws MalformedFileException if it is missing, or of another shape, or has a value that is not finite
     */
    public static float[] fixed(
            AdapterFile file, Map<String, TensorData> byPath, String path, UnaryOperator<String> key, long... shape)
            throws MalformedFileException {
        TensorData data = byPath.get(path);
        if (data == null) {
            throw malformed(file, "adapter lacks the tensor " + key.apply(path) + has(file));
        }
        List<Long> expected = Arrays.stream(shape).boxed().toList();
        if (!data.shape().equals(expected)) {
            throw malformed(file, "tensor " + data.name() + " must have shape " + expected + ", has " + data.shape());
        }
        return floats(file, data);
    }

    /** The values of a tensor of finite numbers. */
    static float[] floats(AdapterFile file, TensorData data) throws MalformedFileException {
        float[] values;
        try {
            values = data.toFloats();
        } catch (IllegalStateException e) {
            throw malformed(file, e.getMessage());
        }
        for (int i = 0; i < values.length; i++) {
            if (!Float.isFinite(values[i])) {
                throw malformed(
                        file,
                        "tensor " + data.name() + " must hold finite numbers, has " + values[i] + " at "
                                + index(i, data.shape()) + "; the training that made it went wrong");
            }
        }
        return values;
    }

    /** The place of a row-major element. */
    private static List<Long> index(long element, List<Long> shape) {
        Long[] index = new Long[shape.size()];
        long rest = element;
        for (int d = shape.size() - 1; d >= 0; d--) {
            index[d] = rest % shape.get(d);
            rest /= shape.get(d);
        }
        return new ArrayList<>(Arrays.asList(index));
    }

    /** The values of a tensor of whole numbers, row-major; {@link #isWhole} says of which type. */
    public static long[] wholeNumbers(TensorData data) {
        var in = data.bytes();
        long[] values = new long[in.remaining() / data.dtype().size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = switch (data.dtype()) {
                case I64 -> in.getLong();
                case I32 -> in.getInt();
                case I16 -> in.getShort();
                case I8 -> in.get();
                case U8 -> in.get() & 0xff;
                default -> throw new AssertionError(data.dtype());
            };
        }
        return values;
    }

    /** Whether the elements are whole numbers that {@link #wholeNumbers} reads. */
    public static boolean isWhole(TensorData data) {
        return switch (data.dtype()) {
            case I64, I32, I16, I8, U8 -> true;
            default -> false;
        };
    }

    /** What the file has instead, for messages. */
    public static String has(AdapterFile file) {
        return "; it has " + TensorNames.some(file.tensors().keySet());
    }

    /** An error in the tensors of an adapter. */
    public static MalformedFileException malformed(AdapterFile file, String reason) {
        return new MalformedFileException(file.directory().resolve(AdapterFiles.TENSORS), -1, reason);
    }
}
