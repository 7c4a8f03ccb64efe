package org.peft4j.method;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.io.AtomicDirectories;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.BottleneckConfig.Activation;
import org.peft4j.method.bottleneck.ReductionFactor;
import org.peft4j.method.bottleneck.Scaling;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.seam.Points;

/** Bottleneck adapters with random values, in directories that AdapterFusion mixes them from. */
final class FusionExpertsOf {
    private static final Map<List<?>, Map<String, Path>> MADE = new HashMap<>();

    private FusionExpertsOf() {}

    /** Three for a model, of one kind and of other widths, activations and scalings; written once, and gone with the process. */
    static synchronized Map<String, Path> model(Path model, HeadKind kind, BottleneckConfig like) {
        return MADE.computeIfAbsent(List.of(model, like), key -> {
            try (HeadedModel opened =
                    HeadedModel.open(ModelDirectory.open(model), ModelOptions.defaults(), kind, HeadOptions.of(2))) {
                Path root = Files.createTempDirectory("fused");
                Runtime.getRuntime().addShutdownHook(new Thread(() -> AtomicDirectories.deleteQuietly(root)));
                return in(root, like, opened.points());
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
    }

    /** The same for points, in folders of a directory. */
    static Map<String, Path> in(Path root, BottleneckConfig like, Points points) throws IOException {
        List<BottleneckConfig> configs = List.of(
                like.toBuilder()
                        .reductionFactor(ReductionFactor.of(4))
                        .activation(Activation.SWISH)
                        .dropout(0.25)
                        .build(),
                like.toBuilder()
                        .reductionFactor(ReductionFactor.of(2))
                        .activation(Activation.TANH)
                        .scaling(Scaling.of(-0.5))
                        .build(),
                like.toBuilder()
                        .reductionFactor(ReductionFactor.of(8))
                        .activation(Activation.GELU)
                        .scaling(Scaling.CHANNEL)
                        .build());
        Map<String, Path> made = new LinkedHashMap<>();
        for (BottleneckConfig config : configs) {
            String name = List.of("mails", "reviews", "others").get(made.size());
            made.put(name, XLoraExperts.write(root.resolve(name), config, points, made.size()));
        }
        return made;
    }
}
