package org.peft4j.run;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.InstanceOfAssertFactories.MAP;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.config.AdafactorConfig;
import org.peft4j.config.AdamWConfig;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.DataConfig;
import org.peft4j.config.Dtype;
import org.peft4j.config.EmbeddingConfig;
import org.peft4j.config.GroupOverride;
import org.peft4j.config.LionConfig;
import org.peft4j.config.LoraFaConfig;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.MuonConfig;
import org.peft4j.config.OptimizerConfig;
import org.peft4j.config.ProblemType;
import org.peft4j.config.RunConfig;
import org.peft4j.config.Schedule;
import org.peft4j.config.ScheduleConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.config.SgdConfig;
import org.peft4j.config.TaskConfig;
import org.peft4j.config.TaskId;
import org.peft4j.config.TrainingConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.Targets;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.lora.Bias;
import org.peft4j.method.lora.InitLora;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.prefix.InitPrefix;
import org.peft4j.method.prefix.PrefixConfig;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.tokens.TrainableTokensConfig;

class RunConfigFileTest {
    private static final String SPAM = """
            # train a spam filter
            model: {path: models/all-MiniLM-L6-v2, dtype: float32, device: auto, dropout: config}
            task: {type: sequence-classification, labels: [ham, spam], text: text, label: label, max_length: 256}
            data: {train: d/train.jsonl, validation: d/validation.jsonl}
            method: {type: lora, r: 8, alpha: 16, dropout: 0.0, targets: [query, value]}
            adapter: null
            training: {epochs: 1, batch_size: 16, optimizer: {type: adamw, learning_rate: 5e-4, weight_decay: 0.01},
                       schedule: {type: linear, warmup_steps: 0}, max_grad_norm: 1.0, gradient_accumulation: 1,
                       checkpointing: none, seed: 0, shuffle: true, log_every: 10, groups: {}}
            output: runs/spam-lora
            """;

    private static final String SHORT = """
            model: m
            data: {train: t.csv}
            method: {type: lora}
            output: o
            """;

    @TempDir
    Path temporary;

    @Test
    void fileOfTheDocumentationIsTheSameAsTheBuilder() throws IOException {
        assertThat(read(SPAM))
                .isEqualTo(RunConfig.builder()
                        .model(Path.of("models/all-MiniLM-L6-v2"))
                        .task(SequenceClassificationConfig.builder()
                                .labels("ham", "spam")
                                .build())
                        .data(new DataConfig(Path.of("d/train.jsonl"), Path.of("d/validation.jsonl")))
                        .method(LoraConfig.builder()
                                .r(8)
                                .alpha(16)
                                .targets("query", "value")
                                .build())
                        .output(Path.of("runs/spam-lora"))
                        .build());
    }

    @Test
    void keysThatAreLeftOutHaveTheDefaultsOfTheApi() throws IOException {
        assertThat(read(SHORT))
                .isEqualTo(RunConfig.builder()
                        .model(ModelConfig.of(Path.of("m")))
                        .data(new DataConfig(Path.of("t.csv"), null))
                        .method(LoraConfig.defaults())
                        .output(Path.of("o"))
                        .build());
    }

    @Test
    void everySettingIsRead() throws IOException {
        RunConfig config = read("""
                model: {path: m, dtype: bfloat16, device: cpu, dropout: 0}
                task: {type: sequence-classification, labels: [a, b], text: body, text_pair: other, label: class, max_length: 9,
                       new_head: true, problem: multi_label_classification}
                data: {train: t}
                method: {type: lora, r: 2, rslora: true, bias: lora_only, targets: '.*query', exclude_modules: [x],
                         rank_pattern: {'b.*': 1, a: 2}, alpha_pattern: {c: 3}, modules_to_save: [head], init: gaussian}
                adapter: a
                training: {max_steps: 7, save_every: 5, shuffle: false, checkpointing: block,
                           optimizer: {learning_rate: 0.1, weight_decay: 0.2},
                           schedule: {type: warmup-stable-decay, warmup_ratio: 0.1, min_rate: 0.3, decay_steps: 5, decay: 1-sqrt},
                           groups: {lora: {learning_rate: 1e-3}, head: {weight_decay: 0, learning_rate: null}}}
                output: o
                """);

        assertThat(config.model())
                .isEqualTo(new ModelConfig(Path.of("m"), Dtype.BFLOAT16, "cpu", ModelConfig.Dropout.OFF));
        assertThat(config.task())
                .isEqualTo(SequenceClassificationConfig.builder()
                        .labels("a", "b")
                        .text("body")
                        .textPair("other")
                        .label("class")
                        .maxLength(9)
                        .newHead(true)
                        .problem(ProblemType.MULTI_LABEL)
                        .build());
        assertThat(config.data()).isEqualTo(new DataConfig(Path.of("t"), null));
        LoraConfig lora = (LoraConfig) config.method();
        assertThat(lora.bias()).isEqualTo(Bias.LORA_ONLY);
        assertThat(lora.init()).isEqualTo(InitLora.GAUSSIAN);
        assertThat(lora.targets()).isEqualTo(Targets.regex(".*query"));
        assertThat(lora.rankPattern().keySet()).as("in the order of the file").containsExactly("b.*", "a");
        assertThat(lora.alphaPattern()).isEqualTo(Map.of("c", 3.0));
        assertThat(config.adapter()).isEqualTo(Path.of("a"));
        assertThat(config.training().maxSteps()).isEqualTo(7);
        assertThat(config.training().checkpointing()).isEqualTo(TrainingConfig.Checkpointing.BLOCK);
        assertThat(config.training().optimizer())
                .isEqualTo(AdamWConfig.defaults().withLearningRate(0.1).withWeightDecay(0.2));
        assertThat(config.training().schedule())
                .isEqualTo(ScheduleConfig.builder(Schedule.WARMUP_STABLE_DECAY)
                        .warmupRatio(0.1)
                        .minRate(0.3)
                        .decaySteps(5)
                        .decay(ScheduleConfig.Decay.ONE_MINUS_SQRT)
                        .build());
        assertThat(config.training().groups())
                .isEqualTo(Map.of("lora", new GroupOverride(1e-3, null), "head", new GroupOverride(null, 0.0)));
    }

    @Test
    void mapOfARunGivesTheSameRunAgain() throws IOException {
        for (String yaml : List.of(
                SPAM,
                SHORT,
                SPAM.replace(
                        "lora, r: 8, alpha: 16, dropout: 0.0, targets: [query, value]", "prefix-tuning, init: zero"),
                SHORT.replace("model: m", "model: {path: m, dropout: 0}").replace("lora", "lora, targets: all-linear"),
                SHORT + "training: {schedule: {type: warmup-stable-decay, decay_steps: 3, decay: 1-sqrt}}",
                SHORT + "training: {schedule: {type: polynomial, power: 2, min_rate: 0.1, warmup_ratio: 0.2}}",
                SHORT + "task: {type: sequence-classification, problem: regression, text_pair: b}",
                SHORT + "task: {type: token-classification, labels: [O, B-X], words: w, tags: t, new_head: true}",
                SHORT + "task: embedding",
                SHORT + "task: {type: embedding, score: s, pooling: last, normalize: false, scale: 20, positive: p}",
                SHORT + "task: {type: embedding, scale: 10}",
                SHORT + "training: {batch_tokens: 4096}",
                SHORT
                        + "task: {type: causal-lm, rows: messages, messages: m, template: t.jinja, loss_on: last, truncation: left,"
                        + " template_variables: {enable_thinking: false, effort: low, budget: 5, share: 0.5}}",
                SHORT
                        + "task: {type: causal-lm, prompt: p, response: r, loss_on: all, packing: true, max_length: 9}")) {
            RunConfig config = read(yaml);
            String json = new ObjectMapper().writeValueAsString(RunConfigFile.toMap(config));
            assertThat(read(json)).as("JSON is YAML").isEqualTo(config);
        }
    }

    @Test
    void optionsReachIntoTheShortFormOfTheModel() throws IOException {
        assertThat(read(SHORT, "model.dropout=0").model())
                .isEqualTo(ModelConfig.of(Path.of("m")).withDropout(ModelConfig.Dropout.OFF));
        assertThat(read(SHORT.replace("model: m", "model: {path: m, dropout: 0}"), "model=n")
                        .model())
                .isEqualTo(ModelConfig.of(Path.of("n")).withDropout(ModelConfig.Dropout.OFF));
    }

    @Test
    void optionForAnotherMethodDropsTheSettingsOfTheFormerOne() throws IOException {
        RunConfig config = read(SPAM, "method.type=prefix-tuning", "method.virtual_tokens=5");
        assertThat(config.method()).isEqualTo(PrefixConfig.of(5));
        assertThat(read(SPAM, "method.r=4").method())
                .isEqualTo(LoraConfig.builder()
                        .r(4)
                        .alpha(16)
                        .targets("query", "value")
                        .build());
    }

    @Test
    void prefixTuningIsRead() throws IOException {
        RunConfig config = read(SHORT.replace(
                "{type: lora}",
                "{type: prefix-tuning, virtual_tokens: 3, projection: true, encoder_hidden_size: 64, init: zero}"));
        assertThat(config.method()).isEqualTo(new PrefixConfig(3, true, 64, InitPrefix.ZERO, List.of()));
    }

    static List<Method<?>> methods() {
        return Methods.all();
    }

    @ParameterizedTest
    @MethodSource("methods")
    void everyMethodIsReadByItsNameAlone(Method<?> of) throws IOException {
        MethodConfig method =
                read(SHORT.replace("{type: lora}", "{type: " + of.name() + "}")).method();
        assertThat(method).isEqualTo(of.defaults());
    }

    @Test
    void settingsOfOtherMethodsAreRead() throws IOException {
        assertThat(read(SHORT.replace(
                                "{type: lora}",
                                "{type: ia3, targets: [key, output.dense], feedforward: [output.dense]}"))
                        .method())
                .isEqualTo(new Ia3Config(
                        Targets.names("key", "output.dense"), Targets.names("output.dense"), null, List.of()));
        assertThat(read(SHORT.replace("{type: lora}", "{type: trainable-tokens, tokens: [7, 3]}"))
                        .method())
                .isEqualTo(new TrainableTokensConfig(List.of(7, 3), Targets.modelDefault(), List.of()));
        assertThat(read(SHORT.replace("{type: lora}", "{type: bottleneck, activation: gelu, reduction_factor: 4}"))
                        .method())
                .isEqualTo(new BottleneckConfig(4, BottleneckConfig.Activation.GELU, 0, List.of()));
    }

    @Test
    void eachOptimizerHasItsOwnSettings() throws IOException {
        assertThat(read(SHORT, "training.optimizer={type: sgd, momentum: 0.9, nesterov: true}")
                        .training()
                        .optimizer())
                .isEqualTo(SgdConfig.defaults().withMomentum(0.9, true));
        assertThat(read(SHORT, "training.optimizer=lion").training().optimizer())
                .isEqualTo(LionConfig.defaults());
        assertThat(read(SHORT, "training.optimizer=lora-fa").training().optimizer())
                .isEqualTo(LoraFaConfig.defaults());
        assertThat(read(
                                SHORT,
                                "training.optimizer={type: muon, adjust_lr_fn: match_rms_adamw}",
                                "training.weight_decay=0")
                        .training()
                        .optimizer())
                .isEqualTo(MuonConfig.defaults()
                        .withAdjustLrFn(MuonConfig.AdjustLrFn.MATCH_RMS_ADAMW)
                        .withWeightDecay(0));
        assertThat(read(SHORT, "training.optimizer={type: adafactor, learning_rate: 0.3, weight_decay: 1e-5}")
                        .training()
                        .optimizer())
                .isEqualTo(AdafactorConfig.defaults().withLearningRate(0.3).withWeightDecay(1e-5));
        assertThat(read(
                                SHORT,
                                "training.optimizer={type: adafactor, scale_parameter: true, relative_step: true, warmup_init: true}",
                                "training.schedule=constant")
                        .training()
                        .optimizer())
                .isEqualTo(AdafactorConfig.relative(true));
        assertThat(read(SHORT, "training.optimizer={beta2: 0.98}").training().optimizer())
                .isEqualTo(AdamWConfig.defaults().withBetas(0.9, 0.98));
    }

    @Test
    void nothingSaysALearningRateBesideRelativeStep() throws IOException {
        assertThatThrownBy(() -> read(
                        SHORT,
                        "training.optimizer={type: adafactor, relative_step: true}",
                        "training.schedule=constant",
                        "training.groups.lora_B.learning_rate=1"))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(
                        "groups must not give 'lora_B' a learning_rate beside the optimizer's relative_step");
        assertThatThrownBy(() -> read(
                        SHORT,
                        "training.optimizer={type: adafactor, relative_step: true}",
                        "training.schedule={type: constant, warmup_steps: 3}"))
                .hasMessageContaining("got constant with a warm-up");
        assertThatThrownBy(() -> AdafactorConfig.relative(false).withLearningRate(1))
                .hasMessageContaining("learningRate must be left out");
    }

    /** Every setting of every optimiser is written, and read as it was. */
    @Test
    void optimizersGoThroughFiles() throws IOException {
        for (OptimizerConfig optimizer : List.of(
                AdamWConfig.defaults().withEps(1e-6),
                SgdConfig.defaults().withMomentum(0.9, 0.5).withLearningRate(2),
                LionConfig.defaults().withBetas(0.95, 0.98),
                AdafactorConfig.builder()
                        .scaleParameter(true)
                        .clipThreshold(2)
                        .decayRate(-0.5)
                        .beta1(0.9)
                        .build(),
                AdafactorConfig.relative(true),
                LoraFaConfig.defaults().withWeightDecay(0.5),
                MuonConfig.defaults().withMomentum(0.9, false).withNsSteps(3))) {
            RunConfig config = read(SHORT);
            RunConfig other = RunConfig.builder()
                    .model(config.model())
                    .task(config.task())
                    .data(config.data())
                    .method(config.method())
                    .training(TrainingConfig.builder()
                            .optimizer(optimizer)
                            .schedule(org.peft4j.config.Schedule.CONSTANT)
                            .build())
                    .output(config.output())
                    .build();
            Map<String, Object> map = RunConfigFile.toMap(other);
            assertThat(((Map<?, ?>) ((Map<?, ?>) map.get("training")).get("optimizer")).get("type"))
                    .isEqualTo(optimizer.type());
            assertThat(RunConfigFile.of(map, "here", List.of())).isEqualTo(other);
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '"',
            value = {
                "training.learning_rat=1 | unknown key 'learning_rat' in training (--set training.learning_rat=1); did you mean 'training.optimizer.learning_rate'?",
                "training.optimizer.learning_rat=1 | unknown key 'learning_rat' in training.optimizer",
                "task=causal | expected one of causal-lm, embedding, sequence-classification, token-classification for 'type' in task (--set task=causal)",
                "task.problem=regresion | expected one of single_label_classification, multi_label_classification, regression, received 'regresion'",
                "task={type: embedding, loss: cosine} | score must name the column",
                "task={type: embedding, score: s, loss: in-batch-negatives} | score has no meaning where loss is in-batch-negatives",
                "task={type: embedding, score: s, scale: 10} | scale has no meaning where loss is cosine, got 10.0",
                "training.schedule={warmup_steps: 3, warmup_ratio: 0.1} | warmup_ratio has no meaning beside warmup_steps,",
                "method={type: prefix-tuning, encoder_hidden_size: 64} | encoder_hidden_size has no meaning without a projection",
                "model.device=cuda:a | device must be cpu, cuda:N",
                "model.device=gpu | device must be cpu, cuda:N",
                "training.schedule.power=2 | power means nothing for the schedule linear, got 2.0; leave it out in training.schedule",
                "training.schedule=warmup-stable-decay | decay_steps must say",
                "training.schedule={type: warmup-stable-decay, decay_steps: 3, decay: sqrt} | expected one of linear, cosine, 1-sqrt, received 'sqrt'",
                "training.num_train_epochs=2 | it is called 'epochs' here",
                "training.schedule.num_warmup_steps=2 | it is called 'warmup_steps' here",
                "method={type: p-tuning, encoder: lstm, encoder_layers: 0} | encoder_layers must be 1 to 64",
                "method={type: prompt-tuning, prompt_tuning_init: TEXT} | it is called 'init' here",
                "method={type: prompt-tuning, init: text} | init_text must say the text that init: text begins with",
                "method={type: prompt-tuning, init_text: is it spam} | init_text is for init: text, but init is random",
                "method={type: dept, r: 0} | r must be 1 to 65536",
                "method={type: adalora, deltaT: 2} | unknown key 'deltaT' in method (--set method={type: adalora, deltaT: 2}); it is called 'delta_t' here",
                "method={type: adalora, init_r: 8} | target_r must be at least 1 and below init_r 8, got 8",
                "method={type: adalora, total_step: 9, tinit: 5, tfinal: 4} | total_step must be more than tinit and tfinal together, 9",
                "method={type: adalora, beta1: 1} | beta1 must be above 0 and below 1",
                "method={type: dept, virtual_tokens: 0} | virtual_tokens must be at least 1",
                "method={type: ept, spaces: 0} | spaces must be 1 to 1024",
                "method={type: cpt, prompt_tokens: [1, 2], token_types: [1]} | token_types must have one type for each of the 2",
                "method={type: multitask-prompt-tuning, tasks: 2, task: 2} | task must be 0 to 1",
                "method={type: multitask-prompt-tuning, source_tasks: average} | source_path must say the adapter",
                "method={type: p-tuning, num_virtual_tokens: 3} | it is called 'virtual_tokens' here",
                "method={type: prompt-tuning, virtual_tokens: 0} | virtual_tokens must be at least 1",
                "method={type: ia3, targets: [key], feedforward: [value]} | feedforward must only have names that targets have",
                "method={type: ia3, target_modules: [key]} | it is called 'targets' here",
                "method={type: trainable-tokens, tokens: [1, 1]} | tokens must have each number once",
                "method={type: bitfit, terms: [all, query]} | terms must be [all] alone",
                "method={type: full, parts: [embedings]} | embeddings, blocks, final, head",
                "method={type: full, parts: [head], layers: [-1]} | layers are numbers of blocks, and parts have none: add blocks to parts",
                "method={type: full, targets: []} | targets must name at least one module, or be left out: nothing would be trained",
                "method={type: full, exclude_modules: all-linear} | exclude_modules must be a list of names or a regular expression",
                "method={type: hft, round_steps: 0} | round_steps must be at least 1, or left out where the run is one round, got 0",
                "method={type: hft, round: -1} | round must be at least 0, got -1",
                "method={type: osf, effective_rank: 0} | effective_rank must be a whole number from 1 on, or a share",
                "method={type: osf, effective_rank: 2.5} | effective_rank must be a whole number from 1 on, or a share",
                "method={type: osf, rank_pattern: {query: -1}} | rank_pattern must have ranks, each a whole number from 1 on, or a share",
                "method={type: osf, rank_pattern: {'(': 1}} | '(' is not a regular expression",
                "method={type: bottleneck, dropout: 1} | dropout must be in [0, 1)",
                "task.new_head=yes | expected true or false for 'new_head' in task",
                "model.dropout=0.5 | dropout must be config or 0, received '0.5' in model.dropout",
                "method.type=lorra | for 'type' in method (--set method.type=lorra), received 'lorra'",
                "method.lora_alpha=3 | unknown key 'lora_alpha' in method (--set method.lora_alpha=3); it is called 'alpha' here",
                "method.targets=( | '(' is not a regular expression",
                "method.targets={} | targets must be a list of names, all-linear, or a regular expression",
                "method.targets=[query, all-linear] | targets must be all-linear alone, or names without it",
                "method.dropout=1 | dropout must be in [0, 1), got 1.0 in method",
                "method={type: lora, layers_to_transform: [1], targets: all-linear} | layers_to_transform needs a list of targets",
                "method.r= | no value for 'method.r' (--set method.r=); to take the setting back write method.r=null",
                "labels=[a] | labels must be at least two",
                "labels=[a, a] | labels must differ",
                "data.max_length=0 | max_length must be at least 1, got 0 in task (--set data.max_length=0)",
                "training.epochs=0 | epochs must be at least 1, got 0 in training",
                "training.groups.lora.learning_rate=-1 | learning_rate must be at least 0, got -1.0 in training.groups.lora",
                "training.schedule=linaer | did you mean 'linear'?",
                "training.optim=adamw_torch | it is called 'optimizer' here",
                "training.optimizer=adam | expected one of adafactor, adamw, lion, lora-fa, muon, sgd for 'type' in training.optimizer",
                "training.optimizer.momentum=0.9 | unknown key 'momentum' in training.optimizer (--set training.optimizer.momentum=0.9); it is a setting of muon, sgd, not of adamw",
                "training.optimizer={type: lion, eps: 1e-6} | unknown key 'eps' in training.optimizer (--set training.optimizer={type: lion, eps: 1e-6}); it is a setting of adamw, not of lion",
                "training.optimizer={type: lora-fa, beta1: 0.5} | it is a setting of adafactor, adamw, lion, not of lora-fa",
                "training.optimizer={type: sgd, lr: 1} | it is called 'learning_rate' here",
                "training.optimizer.adam_beta2=0.98 | it is called 'beta2' here",
                "training.optimizer.beta2=1 | beta2 must be at least 0 and below 1, got 1.0 in training.optimizer",
                "training.optimizer.eps=0 | eps must be at least 1.0E-30, got 0.0",
                "training.optimizer={type: sgd, learning_rate: -1} | learning_rate must be at least 0, got -1.0",
                "training.optimizer={type: sgd, nesterov: true} | nesterov needs a momentum, got true and momentum 0",
                "training.optimizer={type: sgd, nesterov: true, momentum: 0.9, dampening: 0.1} | nesterov needs a momentum without dampening",
                "training.optimizer={type: sgd, dampening: 0.1} | dampening means nothing without a momentum, got 0.1",
                "training.optimizer={type: sgd, momentum: 1} | momentum must be at least 0 and below 1, got 1.0",
                "training.optimizer={type: adafactor, relative_step: true, learning_rate: 1} | learning_rate must be left out with relative_step",
                "training.optimizer={type: adafactor, warmup_init: true} | warmup_init needs relative_step",
                "training.optimizer={type: adafactor, clip_threshold: 0} | clip_threshold must be more than 0, got 0.0",
                "training.optimizer={type: adafactor, decay_rate: 0.8} | decay_rate must be below 0, got 0.8",
                "training.optimizer={type: adafactor, relative_step: true} | schedule must be constant, without a warm-up, beside the optimizer's relative_step, which makes its own rate, got linear; for a warm-up set warmup_init in training",
                "training.optimizer={type: muon, ns_steps: 0} | ns_steps must be at least 1, got 0",
                "training.optimizer={type: muon, adjust_lr_fn: none} | expected one of original, match_rms_adamw, received 'none'",
            })
    void wrongSettingIsOneClearError(String option, String message) {
        assertThatThrownBy(() -> read(SPAM, option))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(message);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "task: sequence-classification\n",
                "task: {type: sequence-classification}\n",
                "task: {type: sequence-classification, new_head: false}\n"
            })
    void taskIsANameOrARecordAndOptionsChangeBoth(String task) throws IOException {
        String text = SHORT + task;

        SequenceClassificationConfig newHead =
                SequenceClassificationConfig.builder().newHead(true).build();
        assertThat(read(text).task()).isEqualTo(SequenceClassificationConfig.defaults());
        assertThat(read(text, "task.new_head=true").task()).isEqualTo(newHead);
        assertThat(read(text, "task.new_head=true", "task=sequence-classification")
                        .task())
                .isEqualTo(newHead);
        assertThat(RunConfigFile.toMap(read(text, "task.new_head=true")))
                .extractingByKey("task", MAP)
                .containsEntry("type", "sequence-classification")
                .containsEntry("new_head", true)
                .containsEntry("max_length", 256);
    }

    private static final String EARLIER = """
            model: m
            task: sequence-classification
            labels: [ham, spam]
            data: {train: t.csv, text: body, label: class, max_length: 9}
            method: {type: lora}
            training: {learning_rate: 1e-3, weight_decay: 0.5, warmup_steps: 3, schedule: cosine, dtype: bfloat16}
            output: o
            """;

    private static final String TODAY = """
            model: {path: m, dtype: bfloat16}
            task: {type: sequence-classification, labels: [ham, spam], text: body, label: class, max_length: 9}
            data: {train: t.csv}
            method: {type: lora}
            training: {optimizer: {learning_rate: 1e-3, weight_decay: 0.5}, schedule: {type: cosine, warmup_steps: 3}}
            output: o
            """;

    @Test
    void filesOfEarlierVersionsMeanWhatTheyMeant() throws IOException {
        assertThat(read(EARLIER)).isEqualTo(read(TODAY));
        assertThat(read(EARLIER.replace("task: sequence-classification\n", ""))).isEqualTo(read(TODAY));
        assertThat(read(EARLIER + "adapter: null\n")).isEqualTo(read(TODAY));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '"',
            value = {
                "labels=[a, b] | task.labels=[a, b]",
                "data.text=x | task.text=x",
                "data.label=x | task.label=x",
                "data.max_length=5 | task.max_length=5",
                "training.learning_rate=5 | training.optimizer.learning_rate=5",
                "training.weight_decay=5 | training.optimizer.weight_decay=5",
                "training.warmup_steps=5 | training.schedule.warmup_steps=5",
                "training.dtype=float32 | model.dtype=float32",
                "training.schedule=constant | training.schedule.type=constant",
                "task=sequence-classification | task.type=sequence-classification",
                "labels=null | task.labels=null",
                "training.dtype=null | model.dtype=null",
            })
    void optionsOfEarlierVersionsMeanWhatTheyMeant(String earlier, String today) throws IOException {
        RunConfig wanted = read(TODAY, today);

        assertThat(read(TODAY, earlier)).isEqualTo(wanted);
        assertThat(read(EARLIER, earlier)).isEqualTo(wanted);
        assertThat(read(EARLIER, today)).as("the later layer wins").isEqualTo(wanted);
    }

    @Test
    void bothNamesOfASettingMayStandInAFileIfTheySayTheSame() throws IOException {
        String both = TODAY.replace("data: {", "data: {max_length: 9, ")
                .replace("training: {", "training: {learning_rate: 0.001, warmup_steps: 3, dtype: bfloat16, ");

        assertThat(read(both + "labels: [ham, spam]\n")).isEqualTo(read(TODAY));
        for (String other : List.of(
                both.replace("max_length: 9, ", "max_length: 10, "),
                both.replace("learning_rate: 0.001", "learning_rate: 0.002"),
                both.replace("warmup_steps: 3, ", "warmup_steps: 4, "),
                both.replace("dtype: bfloat16, ", "dtype: float32, "),
                both + "labels: [spam, ham]\n",
                both + "labels: [ham, spam, eggs]\n")) {
            assertThatThrownBy(() -> read(other))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining("they are the same setting; keep ");
        }
        assertThatThrownBy(() -> read(both.replace("max_length: 9, ", "max_length: 10, ")))
                .hasMessage("'data.max_length' is '10' (" + file()
                        + ", line 3, as data.max_length) and 'task.max_length' is '9'" + " (" + file()
                        + ", line 2), but they are the same setting; keep task.max_length");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "data: {train: t.csv, text: x} | token-classification | unknown key 'text' in task (FILE, line 2, as data.text)",
                "data: {train: t.csv, label: x} | causal-lm | unknown key 'label' in task (FILE, line 2, as data.label)",
                "data: {train: t.csv, max_length: x} | causal-lm | expected a whole number below 2^31 for 'max_length' in task (FILE, line 2)",
                "data: {train: t.csv, max_length: 0} | causal-lm | max_length must be at least 1, got 0 in task (FILE, line 2, as data.max_length)",
            })
    void earlierKeyThatTheTaskDoesNotHaveIsNamedAsItWasWritten(String data, String task, String message) {
        assertThatThrownBy(() -> read(SHORT.replace("data: {train: t.csv}", data) + "task: " + task))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(message.replace("FILE", file().toString()));
    }

    @Test
    void settingsShowTheFormOfToday() throws IOException {
        assertThat(RunConfigFile.toMap(read(EARLIER)).keySet())
                .containsExactly("model", "task", "data", "method", "adapter", "frozen_adapters", "training", "output");
        assertThat(RunConfigFile.toMap(read(EARLIER)))
                .extractingByKey("data", MAP)
                .containsOnlyKeys("train", "validation");
        assertThat(RunConfigFile.toMap(read(EARLIER)))
                .extractingByKey("training", MAP)
                .doesNotContainKeys("dtype", "learning_rate", "weight_decay", "warmup_steps");
    }

    @Test
    void lossOfEmbeddingsFollowsFromTheScore() throws IOException {
        assertThat(((EmbeddingConfig) read(SHORT + "task: embedding").task()).loss())
                .isEqualTo(EmbeddingConfig.Loss.IN_BATCH_NEGATIVES);
        assertThat(((EmbeddingConfig)
                                read(SHORT + "task: embedding", "task.score=s").task())
                        .loss())
                .isEqualTo(EmbeddingConfig.Loss.COSINE);
        assertThat(read(SHORT + "task: embedding").task()).isEqualTo(EmbeddingConfig.defaults());
    }

    @Test
    void optionForAnotherTaskDropsTheSettingsOfTheFormerOne() throws IOException {
        assertThat(read(TODAY, "task=causal-lm", "data.max_length=7").task())
                .isEqualTo(CausalLmConfig.defaults().withMaxLength(7));
    }

    @Test
    void methodMayBeLeftOutWhereARunGoesOnFromAnAdapter() throws IOException {
        String text = SHORT.replace("method: {type: lora}", "adapter: runs/a");

        assertThat(read(text).method()).isNull();
        assertThat(RunConfigFile.toMap(read(text))).containsEntry("method", null);
    }

    @ParameterizedTest
    @CsvSource({
        "model, model: m",
        "train, train: t.csv",
        "method, method: {type: lora}",
        "type, type: lora",
        "output, output: o"
    })
    void missingKeyIsNamed(String key, String line) {
        assertThatThrownBy(() -> read(SHORT.replace(line, "")))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("missing")
                .hasMessageContaining("'" + key + "'");
    }

    @Test
    void builderSaysWhatIsMissing() {
        assertThatThrownBy(() -> RunConfig.builder().model(Path.of("m")).build())
                .isInstanceOf(IllegalStateException.class)
                .hasMessageContaining("method");
    }

    @Test
    void totalStepsCountSmallerLastBatchesAndAccumulation() {
        assertThat(steps(2000, 1, 16, 1, 0)).isEqualTo(125);
        assertThat(steps(2001, 1, 16, 1, 0)).isEqualTo(126);
        assertThat(steps(2001, 3, 16, 4, 0)).isEqualTo(3 * 32);
        assertThat(steps(2000, 1, 16, 1, 20)).isEqualTo(20);
        assertThat(steps(16, 1, 16, 1, 20)).isEqualTo(1);
    }

    private static long steps(long examples, int epochs, int batchSize, int accumulation, long maxSteps) {
        return TrainingConfig.builder()
                .epochs(epochs)
                .batchSize(batchSize)
                .gradientAccumulation(accumulation)
                .maxSteps(maxSteps)
                .build()
                .totalSteps(epoch -> (examples + batchSize - 1) / batchSize);
    }

    private Path file() {
        return temporary.resolve("spam.yaml");
    }

    private RunConfig read(String yaml, String... overrides) throws IOException {
        Path file = Files.writeString(file(), yaml);
        return RunConfigFile.read(file, new ArrayList<>(List.of(overrides)));
    }

    @Test
    void keysOfRecordsWithinATaskStandAmongTheOthers() throws IOException {
        CausalLmConfig task = (CausalLmConfig) read(
                        SHORT
                                + "task: {type: causal-lm, messages: chat, loss_on: assistant, max_length: 512, packing: true}",
                        "task.template_variables.enable_thinking=false",
                        "task.rows=messages")
                .task();

        assertThat(task)
                .isEqualTo(CausalLmConfig.defaults()
                        .withMessages("chat")
                        .withRows(CausalLmConfig.Rows.MESSAGES)
                        .withTemplateVariables(Map.of("enable_thinking", false))
                        .withMaxLength(512)
                        .withPacking(true));
        assertThat(RunConfigFile.taskMap(task))
                .containsOnlyKeys(
                        "type",
                        "rows",
                        "text",
                        "prompt",
                        "response",
                        "messages",
                        "template",
                        "template_variables",
                        "loss_on",
                        "max_length",
                        "truncation",
                        "packing",
                        "task_id");
    }

    @Test
    void theTaskOfRowsIsAColumnOrANumber() {
        TaskConfig column = RunConfigFile.task(Map.of("type", "embedding", "task_id", "domain"), "here");
        TaskConfig number = RunConfigFile.task(Map.of("type", "token-classification", "task_id", 2), "here");
        assertThat(column.taskId()).isEqualTo(TaskId.column("domain"));
        assertThat(number.taskId()).isEqualTo(TaskId.of(2));
        assertThat(RunConfigFile.taskMap(column)).containsEntry("task_id", "domain");
        assertThat(RunConfigFile.taskMap(number)).containsEntry("task_id", 2);
        assertThatThrownBy(() -> TaskId.column("2024")).hasMessageContaining("rename the column");
        assertThatThrownBy(() -> TaskId.of(-1)).hasMessage("taskId must be at least 0, got -1");
        assertThatThrownBy(() -> RunConfigFile.task(Map.of("type", "causal-lm", "task_ids", "domain"), "here"))
                .hasMessageContaining("it is called 'task_id' here");
    }

    /** What was called the response is the assistant's today. */
    @Test
    void earlierNamesOfValuesAreRead() throws IOException {
        assertThat(read(SHORT + "task: {type: causal-lm, loss_on: response}").task())
                .isEqualTo(CausalLmConfig.defaults());
        assertThat(RunConfigFile.task(Map.of("type", "causal-lm", "loss_on", "response"), "peft4j.json"))
                .isEqualTo(CausalLmConfig.defaults());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "task: {type: causal-lm, mesages: m}; unknown key 'mesages' in task; did you mean 'messages'?",
                "task: {type: causal-lm, rows: mesages}; one of auto, text, prompt, messages, conversations, instruction",
                "task: {type: causal-lm, messages: ''}; messages must name a column",
                "task: {type: causal-lm, loss_on: user}; one of assistant, last, all",
                "task: {type: causal-lm, template_variables: {a: [b]}}; a text, a number, true or false for 'a'",
                "training: {batch_size: 4, batch_tokens: 9}; batch_tokens must stand alone, but batch_size is given, too",
                "training: {batch_tokens: 0}; batch_tokens must be at least 1, got 0",
                "training: {batch_size: null, batch_tokens: null}; batch_size must be given, or batch_tokens"
            })
    void wrongKeysOfRecordsWithinARecordAreToldWithTheirLine(String line, String message) {
        assertThatThrownBy(() -> read(SHORT + line))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(message)
                .hasMessageContaining("spam.yaml, line ");
    }

    @Test
    void batchesAreLimitedByRowsOrByTokens() throws IOException {
        assertThat(read(SHORT).training().batchSize()).isEqualTo(16);
        TrainingConfig tokens = read(SHORT, "training.batch_tokens=4096").training();
        assertThat(tokens.batchTokens()).isEqualTo(4096);
        assertThat(tokens.batchSize()).isZero();
        assertThat(read(SHORT + "training: {batch_size: 4}", "training.batch_size=null", "training.batch_tokens=4096")
                        .training())
                .isEqualTo(tokens);
        assertThat(tokens.totalSteps(epoch -> 5 + epoch)).isEqualTo(5);
        assertThat(TrainingConfig.builder()
                        .epochs(3)
                        .gradientAccumulation(2)
                        .build()
                        .totalSteps(epoch -> 5 + epoch))
                .as("3 steps, 3 and 4")
                .isEqualTo(10);
    }
}
