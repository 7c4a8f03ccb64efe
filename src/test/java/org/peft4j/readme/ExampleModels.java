package org.peft4j.readme;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.peft4j.Fixtures;
import org.peft4j.config.ModelConfig;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.bottleneck.BottleneckMethod;
import org.peft4j.method.spi.lora.LoraMethod;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.train.OpenedModel;

/** The models of the run files of methods: the one that is at hand, and one of all-MiniLM-L6-v2's shape with random numbers. */
final class ExampleModels implements AutoCloseable {
    static final String MINILM = "models/all-MiniLM-L6-v2";

    private static final long HIDDEN = 384;
    private static final long INNER = 1536;
    private static final int LAYERS = 6;

    final OpenedModel minilm;
    final OpenedModel stories;

    private final Path directory;

    ExampleModels(Path directory) throws IOException {
        this.directory = directory;
        minilm = OpenedModel.open(ModelConfig.of(ofMiniLmsShape()), 0);
        stories = OpenedModel.open(ModelConfig.of(Path.of("src/examples/data/stories260k")), 0);
    }

    OpenedModel of(Path model) {
        return model.equals(Path.of(MINILM)) ? minilm : stories;
    }

    private Path ofMiniLmsShape() throws IOException {
        Path to = Files.createDirectories(directory.resolve("minilm"));
        for (String name : List.of("tokenizer.json", "tokenizer_config.json")) {
            Files.copy(Fixtures.TINY_BERT.resolve(name), to.resolve(name));
        }
        Files.writeString(to.resolve("config.json"), """
            {"architectures": ["BertModel"], "model_type": "bert", "hidden_size": 384, "intermediate_size": 1536,
             "num_attention_heads": 12, "num_hidden_layers": 6, "max_position_embeddings": 512, "type_vocab_size": 2,
             "vocab_size": 30522, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "pad_token_id": 0,
             "attention_probs_dropout_prob": 0.1, "hidden_dropout_prob": 0.1, "initializer_range": 0.02}
            """);
        Map<String, long[]> shapes = new LinkedHashMap<>();
        shapes.put("embeddings.word_embeddings.weight", new long[] {30522, HIDDEN});
        shapes.put("embeddings.position_embeddings.weight", new long[] {512, HIDDEN});
        shapes.put("embeddings.token_type_embeddings.weight", new long[] {2, HIDDEN});
        norm(shapes, "embeddings.LayerNorm");
        for (int i = 0; i < LAYERS; i++) {
            String layer = "encoder.layer." + i + ".";
            for (String name : List.of("self.query", "self.key", "self.value", "output.dense")) {
                linear(shapes, layer + "attention." + name, HIDDEN, HIDDEN);
            }
            norm(shapes, layer + "attention.output.LayerNorm");
            linear(shapes, layer + "intermediate.dense", INNER, HIDDEN);
            linear(shapes, layer + "output.dense", HIDDEN, INNER);
            norm(shapes, layer + "output.LayerNorm");
        }
        linear(shapes, "pooler.dense", HIDDEN, HIDDEN);
        List<TensorData> tensors = new ArrayList<>();
        SplittableRandom random = new SplittableRandom(1);
        shapes.forEach((name, shape) -> tensors.add(tensor(name, shape, random)));
        SafeTensors.write(to.resolve("model.safetensors"), Map.of("format", "pt"), tensors);
        return to;
    }

    private static void linear(Map<String, long[]> shapes, String path, long out, long in) {
        shapes.put(path + ".weight", new long[] {out, in});
        shapes.put(path + ".bias", new long[] {out});
    }

    private static void norm(Map<String, long[]> shapes, String path) {
        shapes.put(path + ".weight", new long[] {HIDDEN});
        shapes.put(path + ".bias", new long[] {HIDDEN});
    }

    private static TensorData tensor(String name, long[] shape, SplittableRandom random) {
        List<Long> sizes = new ArrayList<>();
        long all = 1;
        for (long size : shape) {
            sizes.add(size);
            all *= size;
        }
        float[] values = new float[Math.toIntExact(all)];
        for (int i = 0; i < values.length; i++) {
            values[i] = (random.nextInt() >> 8) * 0x1p-28f; // evenly from -0.03 to 0.03
        }
        return TensorData.ofFloats(name, sizes, values);
    }

    /** A LoRA of the model that tells stories, not trained. */
    Path lora(String name) throws IOException {
        return written(
                name,
                stories,
                new LoraMethod(),
                LoraConfig.builder().r(4).targets("q_proj", "v_proj").build());
    }

    /** Bottlenecks of one of the models, not trained. */
    Path bottleneck(String name, Path model, BottleneckConfig config) throws IOException {
        return written(name, of(model), new BottleneckMethod(), config);
    }

    private <C extends MethodConfig> Path written(String name, OpenedModel of, Method<C> method, C config)
            throws IOException {
        Path to = directory.resolve(name);
        HeadKind head = of == stories ? HeadKind.LANGUAGE : HeadKind.NONE;
        try (HeadedModel model = HeadedModel.behind(of.model(), head, HeadOptions.of(0));
                Adapter adapter = method.attach(name, config, model.points(), 0)) {
            AdapterStore.write(
                    to, adapter, config, model.points(), name, of == stories ? "CAUSAL_LM" : "FEATURE_EXTRACTION");
        }
        return to;
    }

    @Override
    public void close() {
        minilm.close();
        stories.close();
    }
}
