package org.peft4j.method.spi;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.safetensors.DType;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.io.safetensors.TensorNames;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;

/** Parameters as tensors of an adapter file and back. */
public final class FileTensors {
    private FileTensors() {}

    /** All parameters under the names that {@code key} gives to their paths. */
    public static Map<String, TensorData> of(Adapter adapter, UnaryOperator<String> key) {
        Map<String, TensorData> tensors = new LinkedHashMap<>();
        for (Parameter parameter : adapter.parameters().values()) {
            String name = key.apply(parameter.path());
            List<Long> shape = Arrays.stream(parameter.shape()).boxed().toList();
            tensors.put(name, new TensorData(name, DType.F32, shape, Tensors.toBytes(parameter.value())));
        }
        return tensors;
    }

    /**
     * Fills all parameters from the file.
     *
     * @param byPath the file's tensors by path, see {@link AdapterNames}
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
        Map<String, TensorData> left = new LinkedHashMap<>(byPath);
        for (Parameter parameter : adapter.parameters().values()) {
            TensorData data = left.remove(parameter.path());
            if (data == null) {
                throw malformed(file, "adapter lacks the tensor " + key.apply(parameter.path()) + has(file));
            }
            List<Long> shape = Arrays.stream(parameter.shape()).boxed().toList();
            if (!data.shape().equals(shape)) {
                throw malformed(
                        file,
                        "tensor " + data.name() + " must have shape " + shape + " for this model, has " + data.shape()
                                + (parameter.path().contains("embeddings.")
                                        ? "; the adapter was made on the model with a vocabulary of another size: give"
                                                + " the model as it was saved then"
                                        : ""));
            }
            parameter.set(floats(file, data));
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

    private static float[] floats(AdapterFile file, TensorData data) throws MalformedFileException {
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

    /** What the file has instead, for messages. */
    public static String has(AdapterFile file) {
        return "; it has " + TensorNames.some(file.tensors().keySet());
    }

    /** An error in the tensors of an adapter. */
    public static MalformedFileException malformed(AdapterFile file, String reason) {
        return new MalformedFileException(file.directory().resolve(AdapterFiles.TENSORS), -1, reason);
    }
}
