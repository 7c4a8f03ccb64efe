package org.peft4j.method.spi.bottleneck;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.ModelBlocks;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensorNames;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.SublayerAddition;
import org.peft4j.nn.seam.SublayerPoint;

/**
 * The bottleneck adapters that AdapterFusion mixes: frozen, without the heads that they were trained with. Widths, activations and
 * scalings may differ; the places may not, nor what is read there and added to. Owns them.
 *
 * @param all in the order of the attention
 */
record FusionExperts(List<AdapterStore.Loaded> all) implements AutoCloseable {
    private static final String TYPE = "BOTTLENECK";
    private static final String WHOLE = "modules_to_save";

    /** What bottlenecks are made of. */
    private static final Pattern OWN = Pattern.compile(".*\\.adapter_(down|up|act)\\.[^.]+|.*\\.adapter_scaling|"
            + Pattern.quote(AdaptedLayers.SHARED) + "(phm_rule|W_).*");

    /** The files of a run's experts, by name. */
    static Map<String, AdapterFile> files(Map<String, Path> directories) {
        Map<String, AdapterFile> files = new LinkedHashMap<>();
        directories.forEach((name, directory) -> {
            try {
                files.put(name, AdapterFiles.read(directory));
            } catch (IOException | MalformedFileException e) {
                throw new ConfigException("adapters: '" + name + "': " + e.getMessage(), e);
            }
        });
        return files;
    }

    /**
     * @param files by name
     * @throws ConfigException if one is no bottleneck adapter, has what is not mixed, does not fit the model, or not the others;
     *     nothing stays open
     */
    static FusionExperts of(Map<String, AdapterFile> files, Points points) {
        FusionExperts experts = new FusionExperts(new ArrayList<>());
        try {
            files.forEach((name, file) -> experts.add(name, file, points));
            return experts;
        } catch (RuntimeException e) {
            experts.close();
            throw e;
        }
    }

    private void add(String name, AdapterFile file, Points points) {
        String which = which(name, file);
        checkType(which, file);
        List<String> head = new ArrayList<>();
        AdapterStore.Loaded loaded;
        try {
            loaded = AdapterStore.readPart(withoutHead(which, file, points, head), name, points);
        } catch (IOException | MalformedFileException e) {
            throw new ConfigException("adapters: '" + name + "': " + e.getMessage(), e);
        }
        all.add(loaded);
        if (!head.isEmpty()) {
            loaded.notes().add("what it was trained with as a head is left out (" + String.join(", ", head) + ")");
        }
        loaded.adapter().parameters().values().forEach(Parameter::freeze);
        checkPlain(which, loaded);
        checkAsFirst(which, loaded);
    }

    private static String which(String name, AdapterFile file) {
        return "adapters: '" + name + "' (" + file.directory() + ")";
    }

    private static void checkType(String which, AdapterFile file) {
        if (!TYPE.equals(file.config().get("peft_type"))) {
            throw new ConfigException(
                    which + " must be a bottleneck adapter, is " + file.config().get("peft_type"));
        }
    }

    /** Of experts that are not read for it: where each of them stands. */
    static List<SublayerPoint> sites(Map<String, Path> directories, Points points) {
        Map.Entry<String, AdapterFile> first =
                files(directories).entrySet().iterator().next();
        checkType(which(first.getKey(), first.getValue()), first.getValue());
        try {
            return BottleneckMethod.sites(BottleneckFiles.read(first.getValue()), points);
        } catch (MalformedFileException | IllegalArgumentException e) {
            throw new ConfigException("adapters: '" + first.getKey() + "': " + e.getMessage(), e);
        }
    }

    /**
     * The file without what stands behind the backbone.
     *
     * @param head collects what is left out
     * @throws ConfigException if it has a part of the backbone as a whole
     */
    private static AdapterFile withoutHead(String which, AdapterFile file, Points points, List<String> head)
            throws MalformedFileException {
        ModelBlocks blocks = new ModelBlocks(points);
        Set<TensorData> left = new LinkedHashSet<>();
        for (Map.Entry<String, TensorData> entry :
                PeftTensorNames.byPath(file, PeftKeys.MODEL, points).entrySet()) {
            String path = entry.getKey();
            if (isHead(path, blocks, points)) {
                left.add(entry.getValue());
                head.add(path);
            } else if (points.tensors().containsKey(path)) {
                throw backbone(which, path);
            }
        }
        Map<String, @Nullable Object> config = new LinkedHashMap<>(file.config());
        if (config.get(WHOLE) instanceof List<?> names) {
            SavedModules.of(points, names.stream().map(String::valueOf).toList()).keySet().stream()
                    .filter(path -> !isHead(path, blocks, points))
                    .findFirst()
                    .ifPresent(path -> {
                        throw backbone(which, path);
                    });
            config.remove(WHOLE);
        }
        Map<String, TensorData> tensors = new LinkedHashMap<>(file.tensors());
        tensors.values().removeIf(data -> left.stream().anyMatch(other -> other == data));
        return new AdapterFile(file.directory(), config, tensors, file.inside());
    }

    private static ConfigException backbone(String which, String path) {
        return new ConfigException(which + " must leave the model as it is, has " + path
                + " as a whole: the other experts were trained without; train it without modules_to_save but its head");
    }

    /** Whether it is of an output, or of a layer before it that is no part of this model's blocks: a pooler. */
    private static boolean isHead(String path, ModelBlocks blocks, Points points) {
        if (OWN.matcher(path).matches() || path.startsWith(AdaptedLayers.SHARED)) {
            return false;
        }
        return switch (blocks.partOf(path)) {
            case HEAD -> true;
            case FINAL ->
                !points.tensors().containsKey(path) || points.linear(path.substring(0, path.lastIndexOf('.'))) != null;
            case EMBEDDINGS, BLOCKS -> false;
        };
    }

    /** Refuses what acts elsewhere than in a bottleneck behind a sublayer. */
    private static void checkPlain(String which, AdapterStore.Loaded expert) {
        BottleneckConfig config = (BottleneckConfig) expert.config();
        if (config.prefix() != null) {
            throw new ConfigException(
                    which + " has a prefix (mam): what it does to keys and values is not fused; train it" + " without");
        }
        if (config.parallel()) {
            throw new ConfigException(
                    which + " stands beside the sublayer (parallel): AdapterHub's fusion of such adapters adds what"
                            + " goes around the sublayer once more, so that one of them alone is another; fuse adapters"
                            + " behind sublayers (seq_bn, double_seq_bn)");
        }
        for (String path : expert.adapter().parameters().keySet()) {
            if (!OWN.matcher(path).matches()) {
                throw new ConfigException(
                        which + " has " + path + ": only what bottlenecks add is fused; train it without");
            }
        }
    }

    /** Refuses one that stands elsewhere than the first, reads other rows, or is added to others. */
    private void checkAsFirst(String which, AdapterStore.Loaded expert) {
        AdapterStore.Loaded first = all.get(0);
        String name = "'" + first.adapter().name() + "'";
        List<String> own = places(expert.adapter());
        List<String> firsts = places(first.adapter());
        if (!own.equals(firsts)) {
            List<String> lacks = new ArrayList<>(firsts);
            lacks.removeAll(own);
            List<String> more = new ArrayList<>(own);
            more.removeAll(firsts);
            throw new ConfigException(which + " must stand at the sublayers where " + name + " stands, "
                    + (lacks.isEmpty() ? "stands also at " + more.get(0) : "lacks " + lacks.get(0))
                    + ": mh_adapter, output_adapter and leave_out of all experts must be the same");
        }
        BottleneckConfig mine = (BottleneckConfig) expert.config();
        BottleneckConfig theirs = (BottleneckConfig) first.config();
        if (!mine.norms().equals(theirs.norms())) {
            throw new ConfigException(
                    which + " must have original_ln_before, original_ln_after and residual_before_ln of "
                            + name + ": " + theirs.norms() + ", has " + mine.norms()
                            + "; all experts read the same rows and are added to the same");
        }
    }

    private static List<String> places(Adapter adapter) {
        return adapter.claims(SublayerPoint.class).keySet().stream()
                .map(SublayerPoint::path)
                .toList();
    }

    /** The sublayers at which each of them stands, in the model's order. */
    List<SublayerPoint> sites() {
        return List.copyOf(all.get(0).adapter().claims(SublayerPoint.class).keySet());
    }

    List<String> names() {
        return all.stream().map(one -> one.adapter().name()).toList();
    }

    /** Their bottlenecks at one of these. */
    List<SublayerAddition> at(SublayerPoint point) {
        return all.stream()
                .map(one -> (SublayerAddition) one.adapter().at(point).get(0))
                .toList();
    }

    @Override
    public void close() {
        all.forEach(one -> one.adapter().close());
    }
}
