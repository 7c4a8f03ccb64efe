package org.peft4j.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.Dtype;
import org.peft4j.config.ModelConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.data.TextTokenizer;
import org.peft4j.error.ConfigException;
import org.peft4j.io.BaseHash;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.LayerReplication;
import org.peft4j.method.spi.ReplicatedLayers;
import org.peft4j.model.CardMemory;
import org.peft4j.model.Model;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Models;
import org.peft4j.ops.Device;
import org.peft4j.ops.Devices;
import org.peft4j.ops.Ops;
import org.peft4j.ops.Tf32;

/** A base, where it comes from, and the tokenizer that all share who use it. Safe from many threads. */
public final class OpenedModel implements AutoCloseable {
    /** Those whose weights may still have to come to their card. */
    private static final Set<OpenedModel> OPEN = new HashSet<>();

    private final ModelConfig config;
    private final ModelDirectory directory;
    private final String hash;
    private final Model model;
    private final @Nullable Tf32 products;
    private @Nullable TextTokenizer tokenizer;

    private OpenedModel(
            ModelConfig config, ModelDirectory directory, String hash, Model model, @Nullable Tf32 products) {
        this.config = config;
        this.directory = directory;
        this.hash = hash;
        this.model = model;
        this.products = products;
    }

    /** A model's config as an adapter needs it, with the layers that it was made for; as it is if it says layers itself. */
    public static ModelConfig configFor(ModelConfig config, @Nullable Path adapter) {
        LayerReplication wanted = ReplicatedLayers.wanted(adapter);
        return config.layerReplication().isNone() ? config.withLayerReplication(wanted) : config;
    }

    /**
     * The config of a run's model, with the layers that its method asks for, or the adapter that it goes on from.
     *
     * @throws ConfigException if it says others itself
     */
    public static ModelConfig configOf(RunConfig run) {
        ModelConfig model = run.model();
        LayerReplication wanted =
                run.adapter() == null ? run.chosenMethod().layerReplication() : ReplicatedLayers.wanted(run.adapter());
        if (!model.layerReplication().isNone() && !model.layerReplication().equals(wanted)) {
            throw new ConfigException("model.layer_replication is " + model.layerReplication() + ", but the "
                    + (run.adapter() == null ? "method's" : "adapter's") + " is " + wanted
                    + "; leave it out: a run opens its model with the layers that its method is for");
        }
        return model.withLayerReplication(wanted);
    }

    /** @param seed of what a directory lacks */
    public static OpenedModel open(ModelConfig config, long seed) throws IOException {
        return open(config, seed, true);
    }

    /**
     * Opens a model whose tensors are read and which computes nothing, as for a merge: its matrices stay in their file, so that no
     * memory of a card is judged, and nobody asks how products are rounded.
     */
    public static OpenedModel openTensors(ModelConfig config) throws IOException {
        return open(config, 0, false);
    }

    private static OpenedModel open(ModelConfig config, long seed, boolean computes) throws IOException {
        ModelDirectory directory = ModelDirectory.open(config.path());
        String hash = BaseHash.of(directory);
        Device device = Devices.choose(config.device());
        ModelOptions options = new ModelOptions(
                device,
                storage(config.dtype(), device),
                config.dropout() == ModelConfig.Dropout.CONFIG,
                seed,
                config.layerReplication().layers());
        if (computes) {
            MemoryCheck.ofModel(directory, options, toCome(device));
        }
        Tf32 products = computes ? products(config.dtype(), device) : null;
        try {
            Model model = Models.family(directory).open(directory, options);
            OpenedModel opened = new OpenedModel(config, directory, hash, model, products);
            synchronized (OPEN) {
                OPEN.add(opened);
            }
            return opened;
        } catch (Throwable e) {
            if (products != null) {
                products.close();
            }
            throw e;
        }
    }

    /** Bytes that open models will still take of a device. */
    private static long toCome(Device device) {
        synchronized (OPEN) {
            return OPEN.stream()
                    .map(OpenedModel::model)
                    .filter(model -> !device.isCpu() && model.device().equals(device))
                    .mapToLong(CardMemory::toCome)
                    .sum();
        }
    }

    private static @Nullable Tf32 products(Dtype dtype, Device device) {
        return device.isCpu() || dtype.weightBytes() < Float.BYTES ? null : Tf32.hold(dtype == Dtype.TF32);
    }

    private static ScalarType storage(Dtype dtype, Device device) {
        if (dtype == Dtype.FLOAT16 && device.isCpu()) {
            throw new ConfigException(
                    "model.dtype float16 is computed on cards alone, and the device is the cpu; choose bfloat16,"
                            + " which takes as little memory, or float32");
        }
        if (dtype == Dtype.TF32 && device.isCpu()) {
            throw new ConfigException(
                    "model.dtype tf32 is computed on cards alone, and the device is the cpu; choose float32, which"
                            + " takes as much memory and is more exact");
        }
        return switch (dtype) {
            case FLOAT32, TF32 -> ScalarType.Float;
            case BFLOAT16 -> ScalarType.BFloat16;
            case FLOAT16 -> ScalarType.Half;
        };
    }

    public ModelConfig config() {
        return config;
    }

    public ModelDirectory directory() {
        return directory;
    }

    /** {@link BaseHash} of the directory. */
    public String hash() {
        return hash;
    }

    public Model model() {
        return model;
    }

    /** Where it computes: {@code cpu} or {@code cuda:N}. */
    public String device() {
        return model.device().toString();
    }

    /** Whether a setting means its device. */
    public boolean isOn(String setting) {
        return Devices.choose(setting).equals(model.device());
    }

    /** What a user should know about the model's files, and about the device. */
    public List<String> notes() {
        List<String> notes = new ArrayList<>(model.notes());
        if (config.device().equals(ModelConfig.AUTO)) {
            Devices.whyNoCard().ifPresent(notes::add);
        }
        return notes;
    }

    /** The base's tokenizer with a limit: opened by the first who asks, closed with the base. */
    public synchronized TextTokenizer tokenizer(int maxLength) throws IOException {
        if (tokenizer == null) {
            tokenizer = TextTokenizer.open(directory, maxLength);
        }
        return tokenizer.withMaxLength(maxLength);
    }

    /** Frees model and tokenizer; nobody may use them any more, which the caller sees to. */
    @Override
    public synchronized void close() {
        synchronized (OPEN) {
            OPEN.remove(this);
        }
        if (tokenizer != null) {
            tokenizer.close();
        }
        try {
            model.close();
            Ops.freeKeptBytes(model.device());
        } finally {
            if (products != null) {
                products.close();
            }
        }
    }
}
