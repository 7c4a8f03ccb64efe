package org.peft4j.method.spi.reft;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.reft.ReftConfig;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensorNames;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.BlockPoint;
import org.peft4j.nn.seam.Points;

/**
 * Representation fine-tuning (Wu et al. 2024): LoReFT, NoReFT, DiReFT. AdapterHub's files keep settings, head and adapter apart; ours are
 * the two files that all methods here have. Tensors are named as there, without the adapter's name:
 * {@code ….layer.0.reft_layer.units.0.learned_source.weight}, {@code ….projection.weight}, or of orthonormal rows
 * {@code ….projection.parametrizations.weight.original} and, in place of {@code ….weight.0.base} [width, width], the vectors that it is
 * made of, {@code ….weight.0.base_vectors} [r, width] ({@link OrthogonalRows}): a run goes on from them to the same bits.
 */
public final class ReftMethod implements Method<ReftConfig> {
    private static final String REFUSAL =
            "it edits rows by their places in the prompt: no frozen weight has that effect";

    @Override
    public String name() {
        return "reft";
    }

    @Override
    public String peftType() {
        return "REFT";
    }

    @Override
    public boolean isPefts() {
        return false;
    }

    @Override
    public ReftConfig defaults() {
        return ReftConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("activation", "non_linearity");
    }

    @Override
    public Map<String, ReftConfig> namedSettings() {
        Map<String, ReftConfig> named = new LinkedHashMap<>();
        named.put("loreft", ReftConfig.loreft());
        named.put("noreft", ReftConfig.noreft());
        named.put("direft", ReftConfig.direft());
        return named;
    }

    @Override
    public Adapter attach(String name, ReftConfig config, Points points, long seed) {
        Adapter.Builder builder = builder(name, config, points, seed, null);
        try {
            SavedModules.claim(builder, points, config.modulesToSave());
        } catch (RuntimeException e) {
            builder.discard();
            throw e;
        }
        return builder.build();
    }

    private static Adapter.Builder builder(
            String name, ReftConfig config, Points points, long seed, ReftUnit.@Nullable BaseOfFile base) {
        List<BlockPoint> sites = sites(config, points);
        Adapter.Builder builder = Adapter.builder(name, points.device());
        try {
            for (BlockPoint point : sites) {
                builder.claim(point, Reft.fresh(builder, point, config, seed, base));
            }
            return builder;
        } catch (RuntimeException e) {
            builder.discard();
            throw e;
        }
    }

    /** Behind which blocks rows are edited, in the model's order; the rank fits each. */
    private static List<BlockPoint> sites(ReftConfig config, Points points) {
        List<BlockPoint> all = points.all(BlockPoint.class);
        if (all.isEmpty()) {
            throw new IllegalArgumentException(
                    "method: nothing can be put behind the layers of a model of the type " + points.modelType());
        }
        config.layers().numbers().stream()
                .filter(layer -> layer >= points.layers())
                .findFirst()
                .ifPresent(layer -> {
                    throw new IllegalArgumentException("layers: the model has no layer " + layer
                            + ", its layers are 0 to " + (points.layers() - 1));
                });
        List<BlockPoint> sites = all.stream()
                .filter(point -> config.layers().contains(point.layer()))
                .toList();
        for (BlockPoint point : sites) {
            if (config.r() > point.width()) {
                throw new IllegalArgumentException("r: must be at most the width " + point.width() + " of "
                        + point.path() + ", which has no more "
                        + (config.orthogonality() ? "orthonormal rows" : "directions") + ", got " + config.r());
            }
        }
        return sites;
    }

    @Override
    public ConfigKeys keys() {
        return ReftFiles.KEYS;
    }

    @Override
    public ReftConfig readConfig(AdapterFile file) throws MalformedFileException {
        return ReftFiles.read(file);
    }

    @Override
    public Adapter read(String name, ReftConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        Map<String, TensorData> byPath = PeftTensorNames.byPath(file, PeftKeys.MODEL, points);
        Adapter.Builder builder =
                builder(name, config, points, 0, (path, r, width) -> base(file, byPath, path, r, width));
        try {
            SavedModules.claimWhole(builder, points, byPath.keySet(), notes);
        } catch (RuntimeException e) {
            builder.discard();
            throw e;
        }
        return PeftTensors.filled(builder.build(), file, byPath, ReftMethod::key, notes);
    }

    private static float[] base(AdapterFile file, Map<String, TensorData> byPath, String path, long r, long width) {
        float[] vectors = PeftTensors.fixed(file, byPath, path, ReftMethod::key, r, width);
        for (int j = 0; j < r; j++) {
            for (int i = 0; i <= j; i++) {
                float value = vectors[Math.toIntExact(j * width + i)];
                if (value != (i == j ? 1 : 0)) {
                    throw PeftTensors.malformed(
                            file,
                            "tensor " + key(path) + " must have 1 on its diagonal and 0 before it, has " + value
                                    + " at [" + j + ", " + i + "]");
                }
            }
        }
        return vectors;
    }

    private static String key(String path) {
        return PeftKeys.MODEL + path;
    }

    @Override
    public Map<String, Object> fileConfig(ReftConfig config, Points points) {
        return ReftFiles.write(config);
    }

    @Override
    public Map<String, TensorData> fileTensors(ReftConfig config, Adapter adapter) {
        return PeftTensors.of(adapter, ReftMethod::key);
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.of(REFUSAL);
    }

    @Override
    public long parameterCount(ReftConfig config, Points points) {
        int units = Reft.kinds(config).size();
        return sites(config, points).stream()
                        .mapToLong(point -> units * ReftUnit.elements(point.width(), config))
                        .sum()
                + SavedModules.elements(points, config.modulesToSave());
    }

    @Override
    public String summary() {
        return "edits behind layers of the first and last rows of a prompt, h + Rᵀ(g(W h + c) − R h)";
    }

    @Override
    public String settings(ReftConfig config) {
        return "r " + config.r() + ", the first " + config.prefixPositions() + " and the last "
                + config.suffixPositions() + " tokens";
    }
}
