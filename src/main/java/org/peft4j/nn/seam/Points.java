package org.peft4j.nn.seam;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.peft4j.ops.Device;

/** What a model offers to methods. Lists are in the model's order. Immutable. */
public final class Points {
    private final String modelType;
    private final String architecture;
    private final long hiddenSize;
    private final int layers;
    private final long queryHeads;
    private final List<Point<?>> all;
    private final Map<String, TensorPoint> tensors;
    private final List<String> fresh;
    private final Device device;
    private final List<Integer> layerOrder;

    /**
     * Of a model on the CPU; {@link #on} says another device, what it offers beside these {@link #and} adds.
     *
     * @param modelType {@code model_type} of its config, such as {@code bert}
     * @param architecture class of Hugging Face that it equals, such as {@code BertForSequenceClassification}; for messages
     * @param hiddenSize width of the hidden states
     * @param layers number of blocks
     * @param queryHeads query heads of a block
     * @param linears every linear layer
     * @param keyValues one for each block
     * @param tensors every frozen tensor by path
     * @param fresh modules whose values the model directory did not have: made at random, so an adapter has to train and
     *     keep them
     */
    public Points(
            String modelType,
            String architecture,
            long hiddenSize,
            int layers,
            long queryHeads,
            List<LinearPoint> linears,
            List<KeyValuePoint> keyValues,
            Map<String, TensorPoint> tensors,
            List<String> fresh) {
        this(
                modelType,
                architecture,
                hiddenSize,
                layers,
                queryHeads,
                joined(linears, keyValues),
                tensors,
                fresh,
                Device.CPU,
                List.of());
    }

    private Points(
            String modelType,
            String architecture,
            long hiddenSize,
            int layers,
            long queryHeads,
            Collection<? extends Point<?>> all,
            Map<String, TensorPoint> tensors,
            List<String> fresh,
            Device device,
            List<Integer> layerOrder) {
        this.modelType = modelType;
        this.architecture = architecture;
        this.hiddenSize = hiddenSize;
        this.layers = layers;
        this.queryHeads = queryHeads;
        this.all = List.copyOf(all);
        this.tensors = Collections.unmodifiableMap(new LinkedHashMap<>(tensors));
        this.fresh = List.copyOf(fresh);
        this.device = device;
        this.layerOrder = List.copyOf(layerOrder);
    }

    /** These and more: sublayers, embeddings, the front of the sequence. */
    public Points and(Collection<? extends Point<?>> more) {
        return new Points(
                modelType,
                architecture,
                hiddenSize,
                layers,
                queryHeads,
                joined(all, more),
                tensors,
                fresh,
                device,
                layerOrder);
    }

    /** The same of a model on a device. */
    public Points on(Device where) {
        return new Points(
                modelType, architecture, hiddenSize, layers, queryHeads, all, tensors, fresh, where, layerOrder);
    }

    /** The same of a model whose layers stand in another order than in its files, see {@link #layerOrder}. */
    public Points inOrder(List<Integer> order) {
        return new Points(modelType, architecture, hiddenSize, layers, queryHeads, all, tensors, fresh, device, order);
    }

    /** For each layer the number that it has in the model's files, where some stand more than once; empty: as they are. */
    public List<Integer> layerOrder() {
        return layerOrder;
    }

    /** These and those of a head, which gives the whole its name in transformers. */
    public Points with(Points head) {
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
                joined(all, head.all),
                allTensors,
                allFresh,
                device,
                layerOrder);
    }

    private static List<Point<?>> joined(Collection<? extends Point<?>> some, Collection<? extends Point<?>> more) {
        List<Point<?>> joined = new ArrayList<>(some);
        joined.addAll(more);
        return joined;
    }

    public String modelType() {
        return modelType;
    }

    public String architecture() {
        return architecture;
    }

    public long hiddenSize() {
        return hiddenSize;
    }

    public int layers() {
        return layers;
    }

    public long queryHeads() {
        return queryHeads;
    }

    /** Where the model computes, and what is trained of it has to be. */
    public Device device() {
        return device;
    }

    /** Every point of a kind, tensors aside. */
    public <P extends Point<?>> List<P> all(Class<P> kind) {
        return all.stream().filter(kind::isInstance).map(kind::cast).toList();
    }

    /** Every linear layer. */
    public List<LinearPoint> linears() {
        return all(LinearPoint.class);
    }

    /** Keys and values, one point for each block. */
    public List<KeyValuePoint> keyValues() {
        return all(KeyValuePoint.class);
    }

    /** Every frozen tensor by path. */
    public Map<String, TensorPoint> tensors() {
        return tensors;
    }

    /** Whether linear layers are stored [in, out]. */
    public boolean transposed() {
        return tensors.values().stream().anyMatch(TensorPoint::transposed);
    }

    /** Modules that the model directory lacks. */
    public List<String> fresh() {
        return fresh;
    }

    /**
     * The first part of the backbone's paths, such as {@code bert.}: what transformers' class of the backbone alone leaves out of
     * them, and classes with a head have.
     */
    public String backbone() {
        List<KeyValuePoint> blocks = keyValues();
        String path = blocks.isEmpty() ? "" : blocks.get(0).path();
        return path.substring(0, path.indexOf('.') + 1);
    }

    /** Whether this is the backbone alone, without a head. */
    public boolean bare() {
        return tensors.keySet().stream().allMatch(path -> path.startsWith(backbone()));
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

    /** Paths of all linear layers and tensors. */
    public Set<String> places() {
        Set<String> paths = new LinkedHashSet<>(tensors.keySet());
        linears().forEach(point -> paths.add(point.path()));
        return paths;
    }

    /** The linear layer with this path, or null. */
    public @Nullable LinearPoint linear(String path) {
        return linears().stream()
                .filter(point -> point.path().equals(path))
                .findFirst()
                .orElse(null);
    }
}
