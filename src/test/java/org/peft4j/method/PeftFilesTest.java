package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;
import static org.peft4j.Fixtures.maxDifference;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.ops.Device;

/** Adapters that Hugging Face PEFT wrote give here what they give there, and are written back as they came. */
class PeftFilesTest extends WithTinyBert {
    private final List<Adapter> adapters = new ArrayList<>(); // all that a test loaded

    @TempDir
    Path directory;

    @AfterEach
    void close() {
        adapters.forEach(
                Adapter::close); // else a collection of garbage in a later test frees them while LeakTest counts
    }

    private AdapterStore.Loaded load(String name) throws Exception {
        AdapterStore.Loaded loaded = AdapterStore.read(Fixtures.ADAPTERS.resolve(name), name, model.points());
        adapters.add(loaded.adapter());
        return loaded;
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "lora-query-value",
                "lora-all-linear-rslora",
                "lora-bias-all",
                "lora-bias-lora-only",
                "lora-regex",
                "lora-patterns",
                "lora-modules-to-save",
                "lora-embedding",
                "ia3",
                "ia3-feedforward",
                "prompt-tuning",
                "p-tuning",
                "p-tuning-lstm",
                "trainable-tokens",
                "prefix",
                "prefix-projection"
            })
    void logitsEqualPefts(String name) throws Exception {
        AdapterStore.Loaded loaded = load(name);
        assertThat(maxDifference(logits(model, loaded.adapter()), expected(name, "logits")))
                .isLessThan(1e-5);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "lora-query-value",
                "lora-all-linear-rslora",
                "lora-bias-all",
                "lora-regex",
                "lora-patterns",
                "lora-embedding",
                "ia3",
                "ia3-feedforward",
                "trainable-tokens"
            })
    void mergedModelEqualsPefts(String name) throws Exception {
        AdapterStore.Loaded loaded = load(name);
        float[] before = logits(model);
        try (PointerScope scope = new PointerScope();
                HeadedModel merged =
                        model.withTensors(Methods.of(loaded.config()).merged(loaded.adapter(), model.points()))) {
            assertThat(maxDifference(logits(merged), expected(name, "merged_logits")))
                    .isLessThan(1e-5);
        }
        assertThat(logits(model)).as("the unmerged model").isEqualTo(before);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "lora-query-value",
                "lora-all-linear-rslora",
                "lora-bias-lora-only",
                "lora-regex",
                "lora-patterns",
                "lora-modules-to-save",
                "lora-embedding",
                "ia3",
                "ia3-feedforward",
                "prompt-tuning",
                "p-tuning",
                "trainable-tokens",
                "prefix"
            })
    void whatPeftWroteIsWrittenBackTheSame(String name) throws Exception {
        AdapterStore.Loaded loaded = load(name);
        AdapterStore.write(directory, loaded.adapter(), loaded.config(), model.points(), "tiny-bert", "SEQ_CLS");
        AdapterFile theirs = AdapterFiles.read(Fixtures.ADAPTERS.resolve(name));
        AdapterFile ours = AdapterFiles.read(directory);
        assertThat(ours.tensors().keySet())
                .containsExactlyInAnyOrderElementsOf(theirs.tensors().keySet());
        theirs.tensors().forEach((key, data) -> {
            assertThat(ours.tensors().get(key).bytes()).as(key).isEqualTo(data.bytes());
            assertThat(ours.tensors().get(key).shape()).as(key).isEqualTo(data.shape());
        });
        assertThat(theirs.config().keySet())
                .as("PEFT knows every key")
                .containsAll(ours.config().keySet());
        theirs.config().forEach((key, value) -> {
            if (!key.equals("peft_version")) {
                assertThat(ours.config()).containsKey(key);
                assertThat(normal(ours.config().get(key))).as(key).isEqualTo(normal(value));
            }
        });
    }

    // PEFT writes lists in the order of a hash table, sometimes with doubles, and 8 where it means 8.0.
    static Object normal(Object value) {
        if (value instanceof List<?> list) {
            return new java.util.TreeSet<>(list);
        }
        if (value instanceof Map<?, ?> map) {
            Map<Object, Object> values = new java.util.TreeMap<>();
            map.forEach((key, inner) -> values.put(key, normal(inner)));
            return values;
        }
        return value instanceof Number n ? (Object) n.doubleValue() : value;
    }

    @Test
    void biasAllLosesOnlyPeftsSecondCopies() throws Exception {
        AdapterStore.Loaded loaded = load("lora-bias-all");
        AdapterStore.write(directory, loaded.adapter(), loaded.config(), model.points(), "tiny-bert", "SEQ_CLS");
        List<String> theirs = new ArrayList<>(AdapterFiles.read(Fixtures.ADAPTERS.resolve("lora-bias-all"))
                .tensors()
                .keySet());
        theirs.removeAll(AdapterFiles.read(directory).tensors().keySet());
        assertThat(theirs)
                .containsExactlyInAnyOrder(
                        "base_model.model.classifier.modules_to_save.bias",
                        "base_model.model.classifier.original_module.bias");
    }

    @Test
    void severalAdaptersOnTheSameRowsAddUp() throws Exception {
        AdapterStore.Loaded first = load("lora-query-value");
        AdapterStore.Loaded second = load("lora-all-linear-rslora");
        Adapter.Builder bare = Adapter.builder("without its head", Device.CPU);
        second.adapter().claims(LinearPoint.class).forEach((point, claims) -> bare.claim(point, claims.get(0)));
        Map<String, TensorData> expected = Fixtures.read(Fixtures.ADAPTERS.resolve("two-adapters.safetensors"));
        assertThat(maxDifference(
                        logits(model, first.adapter(), bare.build()),
                        expected.get("logits").toFloats()))
                .isLessThan(1e-5);
    }

    @Test
    void rowsOfOneBatchBelongToDifferentAdapters() throws Exception {
        Map<String, TensorData> expected = Fixtures.read(Fixtures.ADAPTERS.resolve("mixed-batch.safetensors"));
        load("lora-query-value");
        load("lora-all-linear-rslora");
        int[] sentence = Fixtures.ints(expected.get("sentence_index"));
        int[] adapter = Fixtures.ints(expected.get("adapter_index"));
        List<Integer> tokens = new ArrayList<>();
        int[] lengths = new int[sentence.length];
        List<Adapter> adapterOf = new ArrayList<>();
        for (int i = 0; i < sentence.length; i++) {
            int[] own = sentences.only(sentence[i]).tokens();
            lengths[i] = own.length;
            for (int token : own) {
                tokens.add(token);
            }
            adapterOf.add(adapter[i] < adapters.size() ? adapters.get(adapter[i]) : null);
        }
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(org.peft4j.nn.seam.Packing.of(lengths), adapterOf)) {
            float[] logits = Tensors.toFloats(model.outputs(
                    Tokens.of(tokens.stream().mapToInt(Integer::intValue).toArray()), context));
            assertThat(maxDifference(logits, expected.get("logits").toFloats())).isLessThan(1e-5);
        }
    }
}
