package org.peft4j.method;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.peft4j.io.AtomicDirectories;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Points;

/** LoRA adapters with random values, in directories that X-LoRA mixes them from. */
final class XLoraExperts {
    private static final Map<List<?>, Map<String, Path>> MADE = new HashMap<>();

    private XLoraExperts() {}

    /** Three for a model, of other targets and ranks; written once, and gone with the process. */
    static synchronized Map<String, Path> of(Path model, HeadKind kind, String one, String other, double dropout) {
        return MADE.computeIfAbsent(List.of(model, one, other, dropout), key -> {
            try (HeadedModel opened =
                    HeadedModel.open(ModelDirectory.open(model), ModelOptions.defaults(), kind, HeadOptions.of(2))) {
                Path root = Files.createTempDirectory("experts");
                Runtime.getRuntime().addShutdownHook(new Thread(() -> AtomicDirectories.deleteQuietly(root)));
                List<LoraConfig> configs = List.of(
                        LoraConfig.builder().r(3).alpha(5).targets(one, other).build(),
                        LoraConfig.builder().r(2).targets(one).dropout(dropout).build(),
                        LoraConfig.builder().r(1).rslora(true).targets(other).build());
                Map<String, Path> made = new LinkedHashMap<>();
                for (LoraConfig config : configs) {
                    String name = List.of("mails", "reviews", "others").get(made.size());
                    made.put(name, write(root.resolve(name), config, opened.points(), made.size()));
                }
                return made;
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
    }

    /** Writes an adapter whose values are all random. */
    static Path write(Path directory, MethodConfig config, Points points, long seed) throws IOException {
        try (Adapter adapter = attach(Methods.of(config), config, points)) {
            adapter.parameters().forEach((path, parameter) -> {
                try (PointerScope scope = new PointerScope()) {
                    parameter.set(Tensors.toFloats(Init.normal(seed + 20, path, 0.3, parameter.shape())));
                }
            });
            AdapterStore.write(directory, adapter, config, points, "tiny", null);
        }
        return directory;
    }

    private static <C extends MethodConfig> Adapter attach(
            org.peft4j.method.spi.Method<C> method, MethodConfig config, Points points) {
        return method.attach("expert", method.configType().cast(config), points, 1);
    }

    /** The first n of them. */
    static Map<String, Path> first(Map<String, Path> experts, int n) {
        Map<String, Path> first = new LinkedHashMap<>();
        new ArrayList<>(experts.entrySet()).subList(0, n).forEach(entry -> first.put(entry.getKey(), entry.getValue()));
        return first;
    }
}
