package org.peft4j.method.spi.xlora;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.AdapterFiles;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.nn.Dropout;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ExpertsPoint;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.LowRank;
import org.peft4j.nn.seam.Points;

/**
 * The adapters that X-LoRA mixes: plain LoRA at linear layers of the model, each with targets, ranks and scales of its own. Owns them.
 *
 * @param all in the order of the weights
 */
record Experts(List<AdapterStore.Loaded> all) implements AutoCloseable {
    private static final String LORA = "LORA";
    private static final String REPLICATION = "layer_replication";
    private static final String OF_THE_WHOLE = "base_model.lora_model.";

    /** Reads the adapters of a run. */
    static Experts read(Map<String, Path> directories, Points points, List<String> notes) {
        Map<String, AdapterFile> files = new LinkedHashMap<>();
        directories.forEach((name, directory) -> {
            try {
                files.put(name, AdapterFiles.read(directory));
            } catch (IOException | MalformedFileException e) {
                throw new ConfigException("adapters: '" + name + "': " + e.getMessage(), e);
            }
        });
        return of(files, points, notes);
    }

    /**
     * @param files by names for messages
     * @param notes collects what a user should know
     * @throws ConfigException if one is no plain LoRA adapter, or does not fit the model; nothing stays open
     */
    static Experts of(Map<String, AdapterFile> files, Points points, List<String> notes) {
        List<AdapterStore.Loaded> all = new ArrayList<>();
        Experts experts = new Experts(all);
        try {
            files.forEach((name, file) -> {
                String which = "adapters: '" + name + "' (" + file.directory() + ")";
                if (!LORA.equals(file.config().get("peft_type"))) {
                    throw new ConfigException(which + " must be a LoRA adapter, is "
                            + file.config().get("peft_type"));
                }
                checkNotOfTheWhole(which, file);
                if (file.config().get(REPLICATION) != null) {
                    throw new ConfigException(which + " has " + REPLICATION
                            + ": experts must be adapters of the model with its layers as they are");
                }
                AdapterStore.Loaded loaded;
                try {
                    loaded = AdapterStore.readPart(file, name, points);
                } catch (IOException | MalformedFileException e) {
                    throw new ConfigException("adapters: '" + name + "': " + e.getMessage(), e);
                }
                all.add(loaded);
                loaded.notes().forEach(note -> notes.add("expert '" + name + "': " + note));
                checkPlain(which, loaded.adapter());
                loaded.adapter()
                        .parameters()
                        .values()
                        .forEach(parameter -> parameter.value().set_requires_grad(false));
            });
            return experts;
        } catch (RuntimeException e) {
            experts.close();
            throw e;
        }
    }

    /** Refuses what PEFT 0.21 writes into an expert's folder: tensors of the whole model, and of the expert a part. */
    private static void checkNotOfTheWhole(String which, AdapterFile file) {
        for (String name : file.tensors().keySet()) {
            if (name.startsWith(OF_THE_WHOLE)) {
                throw new ConfigException(which + " has " + name + ": save_pretrained of PEFT wrote parts of the whole"
                        + " model there in place of the expert; put the LoRA adapter itself there");
            }
        }
    }

    /** Refuses what is more than A and B at linear layers of the backbone. */
    private static void checkPlain(String which, Adapter adapter) {
        for (String path : adapter.parameters().keySet()) {
            if (!path.endsWith(".lora_A.weight") && !path.endsWith(".lora_B.weight")) {
                throw new ConfigException(which + " must be plain LoRA at linear layers, has " + path
                        + ": DoRA, biases, embedding tables, tokens and whole modules are not mixed; train it without");
            }
        }
        if (!adapter.claims(ExpertsPoint.class).isEmpty()) {
            throw new ConfigException(which + " must be plain LoRA at linear layers, has target_parameters: tensors of"
                    + " experts are not mixed; train it without");
        }
        if (!adapter.invocations().isEmpty()) {
            throw new ConfigException(which + " must be plain LoRA, has alora_invocation_tokens: mixed it would act on"
                    + " all rows of a text, and not on those from its invocation on; train it without");
        }
        for (LinearPoint layer : adapter.claims(LinearPoint.class).keySet()) {
            if (layer.head()) {
                throw new ConfigException(
                        which + " must adapt layers of the backbone alone, adapts the head " + layer.path());
            }
        }
    }

    /** Refuses probabilities that drop nothing while training; closes all then. */
    void checkDropout() {
        for (AdapterStore.Loaded one : all) {
            for (LowRank update : one.adapter().lowRanks()) {
                try {
                    Dropout.check("dropout of expert '" + one.adapter().name() + "'", update.dropout());
                } catch (ConfigException e) {
                    close();
                    throw e;
                }
            }
        }
    }

    /** The layers that at least one of them adapts, in the model's order. */
    List<LinearPoint> layers(Points points) {
        return points.linears().stream()
                .filter(layer ->
                        all.stream().anyMatch(one -> !one.adapter().at(layer).isEmpty()))
                .toList();
    }

    /** The update of an expert at a layer; null if it has none there. */
    static @Nullable LowRank at(Adapter expert, LinearPoint layer) {
        return expert.at(layer).stream()
                .filter(LowRank.class::isInstance)
                .map(LowRank.class::cast)
                .findFirst()
                .orElse(null);
    }

    /** Number of elements of all of them. */
    long elements() {
        return all.stream().mapToLong(one -> one.adapter().elements()).sum();
    }

    @Override
    public void close() {
        all.forEach(one -> one.adapter().close());
    }
}
