package org.peft4j.io.fetch;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.safetensors.ElementType;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.io.safetensors.TensorSource;

/**
 * Gives the weights of a BERT that PyTorch exported to ONNX their Hugging Face names back.
 *
 * <p>Most initialisers kept their names ({@code embeddings.word_embeddings.weight}). The matrices of linear layers did
 * not: the exporter folded {@code x Wᵀ} into {@code MatMul(x, onnx::MatMul_787)}. They are found through the name of
 * the node, {@code /encoder/layer.0/attention/self/query/MatMul}, and transposed back.
 *
 * <p>Every tensor that the config asks for is placed exactly once, with the shape it asks for, and no initialiser is
 * left over; anything else is an error. A wrong model cannot come out of a right-looking file.
 */
final class OnnxToHuggingFace {
    /** Positions 0, 1, 2, …: a constant of the graph, no weight. */
    private static final Set<String> NO_WEIGHTS = Set.of("embeddings.position_ids");

    private static final String MATMUL = "MatMul";

    private final Path path;
    private final OnnxModel model;
    private final Map<String, String> matrixOfModule;
    private final Set<String> used = new TreeSet<>();

    private OnnxToHuggingFace(Path path, OnnxModel model) throws MalformedFileException {
        this.path = path;
        this.model = model;
        this.matrixOfModule = matrices();
    }

    /**
     * The tensors of a model directory.
     *
     * @param path     for messages
     * @param expected the tensors the config asks for, see {@link BertTensors}
     */
    static List<TensorSource> convert(Path path, OnnxModel model, Map<String, List<Long>> expected)
            throws MalformedFileException {
        OnnxToHuggingFace conversion = new OnnxToHuggingFace(path, model);
        List<TensorSource> tensors = new ArrayList<>();
        for (Map.Entry<String, List<Long>> tensor : expected.entrySet()) {
            tensors.add(conversion.place(tensor.getKey(), tensor.getValue()));
        }
        Set<String> left = new TreeSet<>(model.initializers().keySet());
        left.removeAll(conversion.used);
        left.removeAll(NO_WEIGHTS);
        if (!left.isEmpty()) {
            throw new MalformedFileException(
                    path,
                    -1,
                    left.size() + " of " + model.initializers().size()
                            + " initialisers have no place in the model that the config describes: " + left);
        }
        return tensors;
    }

    /** Module path to the initialiser that its MatMul multiplies with. */
    private Map<String, String> matrices() throws MalformedFileException {
        Map<String, String> matrices = new HashMap<>();
        for (OnnxModel.Node node : model.nodes()) {
            boolean weighted = node.opType().equals(MATMUL)
                    && node.inputs().size() == 2
                    && model.initializers().containsKey(node.inputs().get(1));
            if (!weighted || !node.name().startsWith("/") || !node.name().endsWith("/" + MATMUL)) {
                continue;
            }
            String module = node.name()
                    .substring(1, Math.max(1, node.name().length() - MATMUL.length() - 1))
                    .replace('/', '.');
            if (matrices.put(module, node.inputs().get(1)) != null) {
                throw new MalformedFileException(path, -1, "two nodes are called '" + node.name() + "'");
            }
        }
        return matrices;
    }

    private TensorSource place(String name, List<Long> shape) throws MalformedFileException {
        if (model.initializers().containsKey(name)) {
            return take(name, name, shape);
        }
        String matrix = name.endsWith(".weight")
                ? matrixOfModule.get(name.substring(0, name.length() - ".weight".length()))
                : null;
        if (matrix == null || shape.size() != 2) {
            throw new MalformedFileException(
                    path,
                    -1,
                    "the config asks for tensor '" + name + "' " + shape
                            + ", and neither an initialiser nor a MatMul node has it");
        }
        return new TransposedTensor(name, take(name, matrix, List.of(shape.get(1), shape.get(0))));
    }

    private TensorData take(String name, String initializer, List<Long> shape) throws MalformedFileException {
        @Nullable TensorData data = model.initializers().get(initializer);
        if (data == null || data.dtype() != ElementType.F32 || !data.shape().equals(shape)) {
            throw new MalformedFileException(
                    path,
                    -1,
                    "tensor '" + name + "' must be F32 " + shape + ", as the config says, but initialiser " + data
                            + " is not");
        }
        if (!used.add(initializer)) {
            throw new MalformedFileException(
                    path, -1, "initialiser '" + initializer + "' is taken twice, again for '" + name + "'");
        }
        return data;
    }
}
