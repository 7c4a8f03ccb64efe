package org.peft4j;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.prefix.PrefixConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;

/** Directories of adapters with values at random, as if they had been trained. */
public final class ComposedAdapters implements AutoCloseable {
    private final HeadedModel model;
    private final Path root;
    private final String taskType;

    /** @param taskType Hugging Face's name, {@code SEQ_CLS}, {@code CAUSAL_LM} or {@code FEATURE_EXTRACTION} */
    public ComposedAdapters(Path model, Path root, String taskType) throws IOException {
        this.model = HeadedModel.open(
                ModelDirectory.open(model),
                ModelOptions.defaults(),
                Map.of(
                                "CAUSAL_LM",
                                HeadKind.LANGUAGE,
                                "SEQ_CLS",
                                HeadKind.SEQUENCE,
                                "FEATURE_EXTRACTION",
                                HeadKind.NONE)
                        .get(taskType),
                HeadOptions.of(2));
        this.root = root;
        this.taskType = taskType;
    }

    /** Writes one; equal seeds are equal values. */
    public Path write(String name, MethodConfig method, int seed) throws IOException {
        return write(name, method, seed, "");
    }

    /** @param zero parameters whose path has this are 0 */
    public Path write(String name, MethodConfig method, int seed, String zero) throws IOException {
        Path directory = root.resolve(name);
        try (Adapter adapter = attach(method, model, seed)) {
            for (Parameter parameter : adapter.parameters().values()) {
                if (!zero.isEmpty() && parameter.path().contains(zero)) {
                    parameter.set(new float[Math.toIntExact(parameter.elements())]);
                } else {
                    parameter.set(Tensors.toFloats(
                            parameter.value().add(Init.normal(seed, parameter.path(), 0.3, parameter.shape()))));
                }
            }
            AdapterStore.write(directory, adapter, method, model.points(), "base", taskType);
        }
        return directory;
    }

    /** Writes the prefix that has the rows of two. */
    public Path join(String name, Path one, Path other) throws IOException {
        Path directory = root.resolve(name);
        try (Adapter first = AdapterStore.read(one, "one", model.points()).adapter();
                Adapter second =
                        AdapterStore.read(other, "other", model.points()).adapter()) {
            int rows = first.prefix() + second.prefix();
            PrefixConfig config = PrefixConfig.of(rows);
            try (Adapter both = attach(config, model, 1)) {
                Parameter parameter = both.parameters().values().iterator().next();
                float[] values = new float[Math.toIntExact(parameter.elements())];
                float[] of = Tensors.toFloats(
                        first.parameters().values().iterator().next().value());
                float[] more = Tensors.toFloats(
                        second.parameters().values().iterator().next().value());
                System.arraycopy(of, 0, values, 0, of.length);
                System.arraycopy(more, 0, values, of.length, more.length);
                parameter.set(values);
                AdapterStore.write(directory, both, config, model.points(), "base", taskType);
            }
        }
        return directory;
    }

    private static Adapter attach(MethodConfig config, HeadedModel model, int seed) {
        return attach(Methods.of(config), config, model, seed);
    }

    private static <C extends MethodConfig> Adapter attach(
            Method<C> method, MethodConfig config, HeadedModel model, int seed) {
        return method.attach("it", method.configType().cast(config), model.points(), seed);
    }

    @Override
    public void close() {
        model.close();
    }
}
