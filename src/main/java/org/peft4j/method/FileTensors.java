package org.peft4j.method;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.DType;
import org.peft4j.io.TensorData;
import org.peft4j.nn.Adapter;
import org.peft4j.nn.Parameter;
import org.peft4j.nn.Tensors;

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
     * @param ignored names of the file that need no place
     * @throws MalformedFileException if a parameter's tensor is missing or has another shape, or a tensor finds no place
     */
    public static void load(Adapter adapter, AdapterFile file, UnaryOperator<String> key, Set<String> ignored)
            throws MalformedFileException {
        Map<String, TensorData> left = new LinkedHashMap<>(file.tensors());
        left.keySet().removeAll(ignored);
        for (Parameter parameter : adapter.parameters().values()) {
            String name = key.apply(parameter.path());
            TensorData data = left.remove(name);
            if (data == null) {
                throw malformed(
                        file,
                        "adapter lacks the tensor " + name + "; the file has "
                                + file.tensors().size() + " tensors" + example(file));
            }
            List<Long> shape = Arrays.stream(parameter.shape()).boxed().toList();
            if (!data.shape().equals(shape)) {
                throw malformed(
                        file, "tensor " + name + " must have shape " + shape + " for this model, has " + data.shape());
            }
            parameter.set(floats(file, data));
        }
        if (!left.isEmpty()) {
            throw malformed(
                    file,
                    left.size() + " of " + file.tensors().size() + " tensors find no place in this model, first: "
                            + left.keySet().iterator().next());
        }
    }

    private static float[] floats(AdapterFile file, TensorData data) throws MalformedFileException {
        try {
            return data.toFloats();
        } catch (IllegalStateException e) {
            throw malformed(file, e.getMessage());
        }
    }

    private static String example(AdapterFile file) {
        return file.tensors().isEmpty()
                ? ""
                : ", such as " + file.tensors().keySet().iterator().next();
    }

    /** An error in the tensors of an adapter. */
    public static MalformedFileException malformed(AdapterFile file, String reason) {
        return new MalformedFileException(file.directory().resolve(AdapterFiles.TENSORS), -1, reason);
    }
}
