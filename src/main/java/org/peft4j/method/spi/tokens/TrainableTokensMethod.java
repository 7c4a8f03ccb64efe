package org.peft4j.method.spi.tokens;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.Targets;
import org.peft4j.method.spi.Merging;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.PeftTensorNames;
import org.peft4j.method.spi.PeftTensors;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.method.spi.TargetModules;
import org.peft4j.method.spi.TokenTables;
import org.peft4j.method.tokens.TrainableTokensConfig;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.EmbeddingPoint;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.TokenRows;

/**
 * Rows of some tokens in the embedding table (Hugging Face PEFT's TRAINABLE_TOKENS): {@code trainable_tokens_delta} [k, C] holds
 * the rows that take the place of the table's, whatever its name says.
 */
public final class TrainableTokensMethod implements Method<TrainableTokensConfig> {
    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(PeftKeys.COMMON)
            .obeyed("token_indices", "target_modules")
            .harmless("how the rows began, which the file's tensors replace", "init_weights")
            .build();

    @Override
    public String name() {
        return "trainable-tokens";
    }

    @Override
    public String peftType() {
        return "TRAINABLE_TOKENS";
    }

    @Override
    public TrainableTokensConfig defaults() {
        return TrainableTokensConfig.defaults();
    }

    /** PEFT trains no head beside the rows; ours is in the same file, and PEFT puts it in the base's place with a warning. */
    @Override
    public boolean peftSavesModules() {
        return false;
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("token_indices", "tokens", "target_modules", "targets");
    }

    @Override
    public Adapter attach(String name, TrainableTokensConfig config, Points points, long seed) {
        return build(name, config, points).build();
    }

    private static Adapter.Builder build(String name, TrainableTokensConfig config, Points points) {
        Adapter.Builder builder = Adapter.builder(name, points.device());
        for (EmbeddingPoint table : tables(config, points)) {
            TokenTables.claim(builder, table, config.tokens(), table.path() + TokenTables.ROWS, points);
        }
        SavedModules.claim(builder, points, config.modulesToSave());
        return builder;
    }

    private static List<EmbeddingPoint> tables(TrainableTokensConfig config, Points points) {
        if (config.tokens().isEmpty()) {
            throw new IllegalArgumentException("tokens must name at least one token, such as [1037], got []");
        }
        List<EmbeddingPoint> all = points.all(EmbeddingPoint.class);
        List<EmbeddingPoint> tables = config.targets() instanceof Targets.ModelDefault
                ? all.stream().filter(EmbeddingPoint::words).toList()
                : new TargetModules(config.targets(), null, config.modulesToSave()).of(all, EmbeddingPoint::path);
        for (EmbeddingPoint table : tables) {
            TokenTables.check("tokens", table, config.tokens());
        }
        return tables;
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public TrainableTokensConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            Targets targets = config.targets("target_modules");
            return new TrainableTokensConfig(
                    config.counts("token_indices"),
                    targets == null ? Targets.modelDefault() : targets,
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    public TrainableTokensConfig respelled(
            TrainableTokensConfig config, Points points, UnaryOperator<String> from, UnaryOperator<String> to) {
        Targets targets = config.targets();
        if (targets instanceof Targets.ModelDefault) {
            return config;
        }
        List<String> tables = points.all(EmbeddingPoint.class).stream()
                .map(EmbeddingPoint::path)
                .toList();
        List<String> meant = tables.stream()
                .filter(path -> targets.matches(from.apply(path)))
                .map(to)
                .toList();
        boolean same =
                tables.stream().allMatch(path -> targets.matches(from.apply(path)) == targets.matches(to.apply(path)));
        return same || meant.isEmpty()
                ? config
                : new TrainableTokensConfig(config.tokens(), Targets.names(meant), config.modulesToSave());
    }

    @Override
    public Adapter read(String name, TrainableTokensConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        Map<String, TensorData> byPath = PeftTensorNames.byPath(file, PeftKeys.MODEL, points);
        Adapter.Builder builder = build(name, config, points);
        SavedModules.claimWhole(builder, points, byPath.keySet(), notes);
        Adapter adapter = builder.build();
        return PeftTensors.filled(adapter, file, byPath, PeftTensors.key(PeftKeys.MODEL, adapter), notes);
    }

    /** PEFT writes the whole path of the table where none was named. */
    @Override
    public Map<String, Object> fileConfig(TrainableTokensConfig config, Points points) {
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("init_weights", true);
        file.put(
                "target_modules",
                config.targets() instanceof Targets.ModelDefault
                        ? PeftTensorNames.written(points)
                                .apply(tables(config, points).get(0).path())
                        : config.targets().toTree());
        file.put("token_indices", config.tokens());
        return file;
    }

    @Override
    public Map<String, TensorData> fileTensors(TrainableTokensConfig config, Adapter adapter) {
        return PeftTensors.of(adapter, PeftTensors.key(PeftKeys.MODEL, adapter));
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.empty();
    }

    /** The table with the rows in it. */
    @Override
    public Map<String, Tensor> merged(Adapter adapter, Points points) {
        Map<String, Tensor> changed = Merging.replacements(adapter);
        adapter.claims(EmbeddingPoint.class).forEach((table, claims) -> {
            TokenTables.merge(table, (TokenRows) claims.get(0), points, changed); // this method claims nothing else
        });
        return changed;
    }

    @Override
    public long parameterCount(TrainableTokensConfig config, Points points) {
        if (config.tokens().isEmpty()) {
            return SavedModules.elements(points, config.modulesToSave());
        }
        return tables(config, points).stream()
                        .mapToLong(table -> config.tokens().size() * table.width())
                        .sum()
                + SavedModules.elements(points, config.modulesToSave());
    }

    @Override
    public String summary() {
        return "rows of some tokens in the embedding table";
    }

    @Override
    public String settings(TrainableTokensConfig config) {
        return config.tokens().size() + " tokens";
    }
}
