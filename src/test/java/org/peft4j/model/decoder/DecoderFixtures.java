package org.peft4j.model.decoder;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.jspecify.annotations.Nullable;
import org.peft4j.Fixtures;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;

/** The small decoders of build-scripts/fixtures/decoders.py. */
final class DecoderFixtures {
    static final Path ROOT = Fixtures.ROOT.resolve("decoders");
    static final ModelOptions OPTIONS = new ModelOptions(false, false, 0);

    private DecoderFixtures() {}

    /** Their names, as a source of parameters. */
    static Stream<String> all() throws IOException {
        try (Stream<Path> directories = Files.list(ROOT)) {
            List<String> names = directories
                    .filter(path -> Files.isRegularFile(path.resolve("config.json")))
                    .map(path -> path.getFileName().toString())
                    .sorted()
                    .toList();
            return names.stream();
        }
    }

    static HeadedModel open(String name, HeadKind kind, int outputs) throws IOException {
        return open(ROOT.resolve(name), kind, outputs, OPTIONS);
    }

    static HeadedModel open(Path directory, HeadKind kind, int outputs, ModelOptions options) throws IOException {
        return HeadedModel.open(ModelDirectory.open(directory), options, kind, HeadOptions.of(outputs));
    }

    /** An adapter that is there without a note. */
    static Adapter adapter(String directory, HeadedModel model) throws IOException {
        AdapterStore.Loaded loaded = AdapterStore.read(ROOT.resolve(directory), "adapter", model.points());
        assertThat(loaded.notes()).isEmpty();
        return loaded.adapter();
    }

    static Map<String, TensorData> expected(String name) {
        return Fixtures.read(ROOT.resolve(name).resolve("expected.safetensors"));
    }

    /** With the adapter for each text. */
    static float[] outputs(HeadedModel model, Fixtures.Sentences texts, @Nullable Adapter adapter) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(
                        texts.packing(), Collections.nCopies(texts.packing().sequences(), adapter))) {
            return Tensors.toFloats(model.outputs(Tokens.of(texts.tokens()), context));
        }
    }
}
