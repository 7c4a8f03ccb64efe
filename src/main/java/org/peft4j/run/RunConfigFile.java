package org.peft4j.run;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.config.AdafactorConfig;
import org.peft4j.config.AdamWConfig;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.Dtype;
import org.peft4j.config.EmbeddingConfig;
import org.peft4j.config.LionConfig;
import org.peft4j.config.LoraFaConfig;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.MuonConfig;
import org.peft4j.config.OptimizerConfig;
import org.peft4j.config.ProblemType;
import org.peft4j.config.RunConfig;
import org.peft4j.config.ScheduleConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.SgdConfig;
import org.peft4j.config.TaskConfig;
import org.peft4j.config.TaskId;
import org.peft4j.config.TokenClassificationConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.io.yaml.StrictYaml;
import org.peft4j.io.yaml.YamlNode;
import org.peft4j.io.yaml.YamlSchema;
import org.peft4j.method.LayerReplication;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.ModelParts;
import org.peft4j.method.Projection;
import org.peft4j.method.PromptStart;
import org.peft4j.method.Ranks;
import org.peft4j.method.TargetLayers;
import org.peft4j.method.Targets;
import org.peft4j.method.adalora.RankBudget;
import org.peft4j.method.adalora.RankImportance;
import org.peft4j.method.boft.BoftBlocks;
import org.peft4j.method.c3a.BlockSizes;
import org.peft4j.method.c3a.InitC3a;
import org.peft4j.method.cpt.CptConfig;
import org.peft4j.method.ept.EptConfig;
import org.peft4j.method.fourierft.Frequencies;
import org.peft4j.method.gralora.GraloraRanks;
import org.peft4j.method.lora.CordaConfig;
import org.peft4j.method.lora.DataStart;
import org.peft4j.method.lora.EvaConfig;
import org.peft4j.method.lora.LoraGaConfig;
import org.peft4j.method.multitask.MultitaskPromptConfig;
import org.peft4j.method.multitask.PromptSource;
import org.peft4j.method.oft.Cayley;
import org.peft4j.method.oft.OftBlocks;
import org.peft4j.method.poly.Skills;
import org.peft4j.method.randlora.Bases;
import org.peft4j.method.road.RoadVariant;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.vblora.VectorBank;

/**
 * Run files: a {@link RunConfig} in YAML. Keys are the records' components in snake case; {@code model: DIR} is short
 * for {@code model: {path: DIR}}, {@code task: NAME} for {@code task: {type: NAME}}, and so for {@code training.optimizer} and
 * {@code training.schedule}; {@code task.type}, {@code method.type} and {@code training.optimizer.type} choose the record. Relative paths are relative to the
 * working directory. Keys of earlier run files are read where they stand now; PEFT's names of settings are refused with ours.
 */
public final class RunConfigFile {
    private static final Map<String, Class<? extends Record>> TASKS = Map.of(
            SequenceClassificationConfig.TYPE, SequenceClassificationConfig.class,
            TokenClassificationConfig.TYPE, TokenClassificationConfig.class,
            EmbeddingConfig.TYPE, EmbeddingConfig.class,
            CausalLmConfig.TYPE, CausalLmConfig.class);

    private static final Map<String, Class<? extends Record>> OPTIMIZERS = Map.of(
            AdamWConfig.TYPE, AdamWConfig.class,
            SgdConfig.TYPE, SgdConfig.class,
            LionConfig.TYPE, LionConfig.class,
            AdafactorConfig.TYPE, AdafactorConfig.class,
            LoraFaConfig.TYPE, LoraFaConfig.class,
            MuonConfig.TYPE, MuonConfig.class);

    private static final String TASK_ID = "task_id";
    private static final String TASK_IDS = "task_ids"; // PEFT's, of a batch

    /** Keys of earlier run files, and where they stand now. */
    private static final Map<String, String> MOVED = Map.of(
            "labels", "task.labels",
            "data.text", "task.text",
            "data.label", "task.label",
            "data.max_length", "task.max_length",
            "training.learning_rate", "training.optimizer.learning_rate",
            "training.weight_decay", "training.optimizer.weight_decay",
            "training.warmup_steps", "training.schedule.warmup_steps",
            "training.dtype", "model.dtype");

    private static final YamlSchema SCHEMA = ReftForms.addTo(BottleneckForms.addTo(methods(YamlSchema.builder())))
            .moved(MOVED)
            .defaults(
                    RunConfig.class,
                    Map.of(
                            "task", SequenceClassificationConfig.defaults(),
                            "frozen_adapters", List.of(),
                            "training", TrainingConfig.defaults()))
            .choice(TaskConfig.class, "type", TASKS)
            .scalarKey(TaskConfig.class, "type")
            .defaults(SequenceClassificationConfig.defaults())
            .names(ProblemType.class, ProblemType::fileName)
            .renamed(
                    SequenceClassificationConfig.class,
                    Map.of("problem_type", "problem", "max_seq_length", "max_length", TASK_IDS, TASK_ID))
            .renamed(TokenClassificationConfig.class, Map.of(TASK_IDS, TASK_ID))
            .renamed(EmbeddingConfig.class, Map.of(TASK_IDS, TASK_ID))
            .renamed(CausalLmConfig.class, Map.of(TASK_IDS, TASK_ID))
            .defaults(TokenClassificationConfig.defaults())
            .defaults( // without the loss, which the score chooses
                    EmbeddingConfig.class,
                    Map.of(
                            "text", EmbeddingConfig.defaults().text(),
                            "positive", EmbeddingConfig.defaults().positive(),
                            "scale", EmbeddingConfig.defaults().scale(),
                            "max_length", EmbeddingConfig.MAX_LENGTH))
            .defaults(CausalLmConfig.defaults())
            .flat(CausalLmConfig.Columns.class)
            .flat(CausalLmConfig.Chat.class)
            .formerNames(CausalLmConfig.LossOn.class, Map.of("response", CausalLmConfig.LossOn.ASSISTANT))
            .defaults(
                    ModelConfig.class,
                    Map.of(
                            "dtype", Dtype.FLOAT32,
                            "device", ModelConfig.AUTO,
                            "dropout", ModelConfig.Dropout.CONFIG,
                            "layer_replication", LayerReplication.NONE))
            .form(LayerReplication.class, RunConfigFile::readReplication, LayerReplication::ranges)
            .renamed(ModelConfig.class, Map.of("torch_dtype", "dtype"))
            .scalarKey(ModelConfig.class, "path")
            .form(ModelConfig.Dropout.class, RunConfigFile::readDropout, RunConfigFile::writeDropout)
            .choice(MethodConfig.class, "type", methodTypes())
            .flat(TargetLayers.class)
            .flat(ModelParts.class)
            .flat(DataStart.class)
            .defaults(EvaConfig.defaults())
            .defaults(CordaConfig.defaults())
            .defaults(LoraGaConfig.defaults())
            .names(LoraGaConfig.Direction.class, LoraGaConfig.Direction::fileName)
            .names(LoraGaConfig.Scale.class, LoraGaConfig.Scale::fileName)
            .flat(Projection.class)
            .flat(Ranks.class)
            .flat(Bases.class)
            .flat(VectorBank.class)
            .flat(GraloraRanks.class)
            .flat(RankBudget.class)
            .flat(RankImportance.class)
            .flat(Skills.class)
            .flat(Frequencies.class)
            .flat(BlockSizes.class)
            .flat(BoftBlocks.class)
            .names(RoadVariant.class, RoadVariant::fileName)
            .names(InitC3a.class, InitC3a::fileName)
            .flat(Cayley.class)
            .flat(OftBlocks.class)
            .form(TaskId.class, RunConfigFile::readTaskId, TaskId::toTree)
            .form(Targets.class, RunConfigFile::readTargets, Targets::toTree)
            .defaults(TrainingConfig.defaults())
            .flat(PromptStart.class)
            .flat(PromptSource.class)
            .flat(MultitaskPromptConfig.Factors.class)
            .flat(CptConfig.Loss.class)
            .flat(CptConfig.Distance.class)
            .flat(EptConfig.Network.class)
            .flat(TrainingConfig.BatchLimit.class)
            .alternatives(TrainingConfig.BatchLimit.class, "batch_size", "batch_tokens")
            .renamed(
                    TrainingConfig.class,
                    Map.of(
                            "num_train_epochs", "epochs",
                            "per_device_train_batch_size", "batch_size",
                            "lr_scheduler_type", "schedule",
                            "gradient_accumulation_steps", "gradient_accumulation",
                            "optim", "optimizer",
                            "logging_steps", "log_every",
                            "save_steps", "save_every",
                            "warmup_ratio", "schedule.warmup_ratio"))
            .choice(OptimizerConfig.class, "type", OPTIMIZERS)
            .scalarKey(OptimizerConfig.class, "type")
            .defaults(AdamWConfig.defaults())
            .defaults(SgdConfig.defaults())
            .defaults(LionConfig.defaults())
            .defaults( // without the rate, which relative_step must not have
                    AdafactorConfig.class,
                    Map.of(
                            "weight_decay", AdafactorConfig.defaults().weightDecay(),
                            "scale_parameter", AdafactorConfig.defaults().scaleParameter(),
                            "relative_step", AdafactorConfig.defaults().relativeStep(),
                            "warmup_init", AdafactorConfig.defaults().warmupInit(),
                            "clip_threshold", AdafactorConfig.defaults().clipThreshold(),
                            "decay_rate", AdafactorConfig.defaults().decayRate()))
            .defaults(LoraFaConfig.defaults())
            .defaults(MuonConfig.defaults())
            .names(MuonConfig.AdjustLrFn.class, MuonConfig.AdjustLrFn::fileName)
            .renamed(
                    AdamWConfig.class,
                    Map.of("lr", "learning_rate", "adam_beta1", "beta1", "adam_beta2", "beta2", "adam_epsilon", "eps"))
            .renamed(SgdConfig.class, Map.of("lr", "learning_rate"))
            .renamed(LionConfig.class, Map.of("lr", "learning_rate"))
            .renamed(AdafactorConfig.class, Map.of("lr", "learning_rate"))
            .renamed(LoraFaConfig.class, Map.of("lr", "learning_rate"))
            .renamed(MuonConfig.class, Map.of("lr", "learning_rate"))
            .defaults(ScheduleConfig.defaults())
            .scalarKey(ScheduleConfig.class, "type")
            .names(ScheduleConfig.Decay.class, ScheduleConfig.Decay::fileName)
            .renamed(
                    ScheduleConfig.class,
                    Map.of(
                            "num_warmup_steps", "warmup_steps",
                            "min_lr_rate", "min_rate",
                            "min_lr_ratio", "min_rate",
                            "num_decay_steps", "decay_steps",
                            "decay_type", "decay"))
            .build();

    private RunConfigFile() {}

    /**
     * Reads a run file.
     *
     * @param overrides options of the form {@code training.epochs=2}, as after {@code --set}; later ones win
     * @throws org.peft4j.error.ConfigException if anything in it is wrong
     */
    public static RunConfig read(Path yaml, List<String> overrides) {
        return StrictYaml.read(yaml, RunConfig.class, null, overrides, SCHEMA);
    }

    /**
     * A run from what a run file would say.
     *
     * @param settings as {@link #toMap} gives them; what has a default may be left out
     * @param where the place of the settings, for errors
     * @param overrides as in {@link #read}
     * @throws org.peft4j.error.ConfigException if anything in it is wrong
     */
    public static RunConfig of(Map<String, ?> settings, String where, List<String> overrides) {
        return StrictYaml.fromMap(settings, where, RunConfig.class, overrides, SCHEMA);
    }

    /** Every setting, in the order and with the names of the file; reading it again gives an equal config. */
    public static Map<String, Object> toMap(RunConfig config) {
        return StrictYaml.toMap(config, SCHEMA);
    }

    /** The settings of a method, as {@code method} has them. */
    public static Map<String, Object> methodMap(MethodConfig method) {
        return StrictYaml.toMap((Record) method, SCHEMA);
    }

    /** The settings of a task, as {@code task} has them. */
    public static Map<String, Object> taskMap(TaskConfig task) {
        return StrictYaml.toMap((Record) task, SCHEMA);
    }

    /**
     * The task that {@link #taskMap} gave the settings for.
     *
     * @param where the place of the settings, for errors
     * @throws org.peft4j.error.ConfigException if anything in it is wrong
     */
    public static TaskConfig task(Map<String, ?> settings, String where) {
        return StrictYaml.fromMap(settings, where, TaskConfig.class, SCHEMA);
    }

    /** What every method says of its own settings. */
    private static YamlSchema.Builder methods(YamlSchema.Builder schema) {
        for (Method<?> method : Methods.all()) {
            Record defaults = (Record) method.defaults();
            schema.defaults(defaults).renamed(defaults.getClass(), method.renamedSettings());
            Map<String, Record> named = new LinkedHashMap<>();
            method.namedSettings().forEach((name, settings) -> named.put(name, (Record) settings));
            if (!named.isEmpty()) {
                schema.named(defaults.getClass(), "config", named);
            }
        }
        return schema;
    }

    private static Map<String, Class<? extends Record>> methodTypes() {
        Map<String, Class<? extends Record>> types = new LinkedHashMap<>();
        Methods.all().forEach(method -> types.put(method.name(), ((Record) method.defaults()).getClass()));
        return types;
    }

    private static ModelConfig.Dropout readDropout(YamlNode node) {
        if (node instanceof YamlNode.Scalar scalar && scalar.text() != null) {
            switch (scalar.text()) {
                case "config":
                    return ModelConfig.Dropout.CONFIG;
                case "0", "0.0":
                    return ModelConfig.Dropout.OFF;
                default:
                    break;
            }
        }
        throw new IllegalArgumentException("dropout must be config or 0, received " + node.received());
    }

    private static Object writeDropout(ModelConfig.Dropout dropout) {
        return dropout == ModelConfig.Dropout.CONFIG ? "config" : (Object) 0;
    }

    private static LayerReplication readReplication(YamlNode node) {
        if (node.isNull()) {
            return LayerReplication.NONE;
        }
        List<List<Integer>> ranges = new ArrayList<>();
        try {
            for (YamlNode range : ((YamlNode.Sequence) node).items()) {
                ranges.add(((YamlNode.Sequence) range)
                        .items().stream()
                                .map(bound -> Integer.valueOf(String.valueOf(((YamlNode.Scalar) bound).text())))
                                .toList());
            }
        } catch (ClassCastException | NumberFormatException e) {
            throw new IllegalArgumentException(
                    "layer_replication must be a list of ranges such as [[0, 4], [2, 5]], received " + node.received(),
                    e);
        }
        try {
            return new LayerReplication(ranges);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(
                    String.valueOf(e.getMessage()).replace("layerReplication", "layer_replication"), e);
        }
    }

    private static TaskId readTaskId(YamlNode node) {
        if (node instanceof YamlNode.Scalar scalar
                && scalar.text() != null
                && !scalar.text().isEmpty()) {
            return TaskId.parse(scalar.text());
        }
        throw new IllegalArgumentException(
                "task_id must be the name of a column, or the number of all rows' task, received " + node.received());
    }

    private static Targets readTargets(YamlNode node) {
        if (node instanceof YamlNode.Scalar scalar) {
            return Targets.of(scalar.text());
        }
        if (node instanceof YamlNode.Sequence list
                && list.items().stream().allMatch(item -> item instanceof YamlNode.Scalar && !item.isNull())) {
            return list.items().isEmpty()
                    ? Targets.none()
                    : Targets.names(list.items().stream()
                            .map(item -> String.valueOf(((YamlNode.Scalar) item).text()))
                            .toList());
        }
        throw new IllegalArgumentException(
                "targets must be a list of names, all-linear, or a regular expression, received " + node.received());
    }
}
