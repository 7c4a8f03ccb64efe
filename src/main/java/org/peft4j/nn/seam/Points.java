package org.peft4j.nn.seam;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

/**
 * What a model offers to methods. Lists are in the model's order.
 *
 * @param modelType {@code model_type} of its config, such as {@code bert}
 * @param architecture class of Hugging Face that it equals, such as {@code BertForSequenceClassification}; for messages
 * @param hiddenSize width of the hidden states
 * @param layers number of blocks
 * @param queryHeads query heads of a block
 * @param linears every linear layer
 * @param keyValues one for each block
 * @param tensors every frozen tensor by path
 * @param fresh modules whose values the model directory did not have: made at random, so an adapter has to train and keep
 *     them
 */
public record Points(
        String modelType,
        String architecture,
        long hiddenSize,
        int layers,
        long queryHeads,
        List<LinearPoint> linears,
        List<KeyValuePoint> keyValues,
        Map<String, TensorPoint> tensors,
        List<String> fresh) {
    /** These and those of a head, which gives the whole its name in transformers. */
    public Points with(Points head) {
        List<LinearPoint> allLinears = new ArrayList<>(linears);
        allLinears.addAll(head.linears);
        Map<String, TensorPoint> allTensors = new LinkedHashMap<>(tensors);
        allTensors.putAll(head.tensors);
        List<String> allFresh = new ArrayList<>(fresh);
        allFresh.addAll(head.fresh);
        return new Points(
                modelType,
                head.architecture,
                hiddenSize,
                layers,
                queryHeads,
                allLinears,
                keyValues,
                allTensors,
                allFresh);
    }

    /** Paths of all modules that hold a tensor, directly or deeper. */
    public TreeSet<String> modules() {
        TreeSet<String> modules = new TreeSet<>();
        for (String tensor : tensors.keySet()) {
            for (int dot = tensor.lastIndexOf('.'); dot > 0; dot = tensor.lastIndexOf('.', dot - 1)) {
                modules.add(tensor.substring(0, dot));
            }
        }
        return modules;
    }

    /** The linear layer with this path, or null. */
    public @org.jspecify.annotations.Nullable LinearPoint linear(String path) {
        return linears.stream()
                .filter(point -> point.path().equals(path))
                .findFirst()
                .orElse(null);
    }
}
