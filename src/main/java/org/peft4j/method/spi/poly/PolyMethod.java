package org.peft4j.method.spi.poly;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.poly.PolyConfig;
import org.peft4j.method.poly.PolyType;
import org.peft4j.method.poly.Skills;
import org.peft4j.method.spi.AdaptedLayers;
import org.peft4j.method.spi.LinearKeys;
import org.peft4j.method.spi.LinearMethod;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.RowTasks;

/** Poly (Ponti et al. 2022; Hugging Face PEFT) and its splits (Caccia et al. 2023): each task mixes low-rank updates of its own. */
public final class PolyMethod extends LinearMethod<PolyConfig> {
    private static final String A = "poly_lora_A";
    private static final String B = "poly_lora_B";
    private static final String LOGITS = "poly_router.module_logits";
    private static final double BOUND = 1e-3;

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(LinearKeys.COMMON)
            .obeyed(LinearKeys.EXCLUDED)
            .obeyed("r", "n_tasks", "n_skills", "n_splits")
            .only("poly_type", List.of("poly"), "there is no other way to choose among skills in PEFT 0.21")
            .harmless("how B began, which the file's tensors replace", "init_weights")
            .build();

    @Override
    public String name() {
        return "poly";
    }

    @Override
    public String peftType() {
        return "POLY";
    }

    @Override
    public PolyConfig defaults() {
        return PolyConfig.defaults();
    }

    @Override
    protected List<String> suffixes() {
        return List.of(A, B, LOGITS);
    }

    @Override
    protected void adapt(PolyConfig config, AdaptedLayers layers) {
        Skills skills = config.skills();
        int splits = skills.nSplits();
        int tasks = skills.nTasks();
        int r = config.r();
        layers.tasks(tasks, tasks == 1 ? 0 : RowTasks.NONE);
        for (AdaptedLayers.Layer layer : layers.all()) {
            if (layer.in() % splits != 0 || layer.out() % splits != 0) {
                throw new IllegalArgumentException("n_splits must divide the " + layer.in() + " inputs and "
                        + layer.out() + " outputs of " + layer.path() + ", got " + splits);
            }
            long in = layer.in() / splits;
            long out = layer.out() / splits;
            layer.claim(new MixedSkills(
                    layer.trained(A, (seed, path) -> start(seed, path, in, splits, skills.nSkills(), in, r)),
                    layer.trained(
                            B,
                            (seed, path) -> config.initWeights()
                                    ? Tensors.zeros(splits, skills.nSkills(), r, out)
                                    : start(seed, path, r, splits, skills.nSkills(), r, out)),
                    layer.trained(
                            LOGITS,
                            (seed, path) -> Init.uniform(seed, path, BOUND, tasks, (long) splits * skills.nSkills()))));
        }
    }

    /** Kaiming-uniform of each skill and split, as of a matrix with so many columns. */
    private static Tensor start(long seed, String path, long columns, long... shape) {
        return Init.uniform(seed, path, 1 / Math.sqrt(columns), shape);
    }

    @Override
    protected long elements(PolyConfig config, List<LinearPoint> layers) {
        Skills skills = config.skills();
        long logits = (long) skills.nTasks() * skills.nSplits() * skills.nSkills();
        return layers.stream()
                .mapToLong(layer -> (long) skills.nSkills() * config.r() * (layer.in() + layer.out()) + logits)
                .sum();
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public PolyConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new PolyConfig(
                    config.count("r", 8),
                    new Skills(
                            PolyType.POLY,
                            config.count("n_tasks", 1),
                            config.count("n_skills", 4),
                            config.count("n_splits", 1)),
                    true,
                    LinearKeys.layers(config),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    protected Map<String, Object> fileConfig(PolyConfig config) {
        Skills skills = config.skills();
        Map<String, Object> file = new LinkedHashMap<>();
        file.put("init_weights", true);
        file.put("n_skills", skills.nSkills());
        file.put("n_splits", skills.nSplits());
        file.put("n_tasks", skills.nTasks());
        file.put("poly_type", skills.polyType().name().toLowerCase(Locale.ROOT));
        file.put("r", config.r());
        return file;
    }

    @Override
    public Optional<String> mergeRefusal(PolyConfig config) {
        int tasks = config.skills().nTasks();
        return tasks == 1
                ? Optional.empty()
                : Optional.of("each of its " + tasks
                        + " tasks has a mixture of its own, and a merged weight is the same for rows of all");
    }

    @Override
    public Map<String, Tensor> merged(Adapter adapter, Points points) {
        if (adapter.tasks() > 1) {
            throw new IllegalStateException(name() + " cannot be merged: "
                    + mergeRefusal(defaults().withSkills(Skills.of(adapter.tasks(), 1)))
                            .orElseThrow());
        }
        return super.merged(adapter, points);
    }

    @Override
    public String summary() {
        return "several updates B A of each layer, of which each task has a mixture, by a trained number for each of them";
    }

    @Override
    public String settings(PolyConfig config) {
        return "r " + config.r() + ", " + config.skills().nSkills() + " skills, "
                + config.skills().nTasks() + (config.skills().nTasks() == 1 ? " task" : " tasks")
                + ", the model's usual targets";
    }
}
