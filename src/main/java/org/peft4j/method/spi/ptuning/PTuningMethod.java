package org.peft4j.method.spi.ptuning;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ConfigKeys;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.ptuning.Encoder;
import org.peft4j.method.ptuning.PTuningConfig;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftKeys;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.method.spi.SoftPrompt;
import org.peft4j.nn.Init;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.ops.Ops;

/**
 * P-tuning (Liu et al. 2021; Hugging Face PEFT): the rows are {@code W₄ relu(W₂ relu(W₀ e + b₀) + b₂) + b₄} of trained rows e. PEFT's
 * file holds the rows alone, so an adapter that was read trains them themselves.
 */
public final class PTuningMethod implements Method<PTuningConfig> {
    private static final String NETWORK = "prompt_encoder.";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(SoftPrompt.KEYS)
            .obeyed("encoder_hidden_size")
            .harmless(
                    "the network that made the rows, which the file does not hold",
                    "encoder_reparameterization_type",
                    "encoder_num_layers",
                    "encoder_dropout")
            .build();

    @Override
    public String name() {
        return "p-tuning";
    }

    @Override
    public String peftType() {
        return "P_TUNING";
    }

    @Override
    public PTuningConfig defaults() {
        return PTuningConfig.defaults();
    }

    @Override
    public Map<String, String> renamedSettings() {
        return Map.of("num_virtual_tokens", "virtual_tokens", "encoder_reparameterization_type", "encoder");
    }

    @Override
    public Adapter attach(String name, PTuningConfig config, Points points, long seed) {
        int count = config.virtualTokens();
        long width = SoftPrompt.point(points).width();
        long inner = inner(config, width);
        String rows = NETWORK + "embedding.weight";
        Parameter embedding = Parameter.of(rows, SoftPrompt.GROUP, () -> Init.normal(seed, rows, 1, count, width));
        Layer first = layer("mlp_head.0", inner, width, seed);
        Layer second = layer("mlp_head.2", inner, inner, seed);
        Layer third = layer("mlp_head.4", width, inner, seed);
        Adapter.Builder builder = Adapter.builder(name, points.device()).parameter(embedding);
        for (Layer layer : List.of(first, second, third)) {
            builder.parameter(layer.weight()).parameter(layer.bias());
        }
        SoftPrompt prompt = new SoftPrompt(
                count,
                () -> third.of(second.of(first.of(embedding.value()).relu()).relu()));
        SoftPrompt.claim(builder, prompt, points, config.modulesToSave());
        return builder.build();
    }

    private static long inner(PTuningConfig config, long width) {
        return config.encoderHiddenSize() == 0 ? width : config.encoderHiddenSize();
    }

    /** A linear layer of the network, which begins as torch's do. */
    private record Layer(Parameter weight, Parameter bias) {
        Tensor of(Tensor x) {
            return Ops.linear(x, weight.value(), bias.value());
        }
    }

    private static Layer layer(String name, long out, long in, long seed) {
        String weight = NETWORK + name + ".weight";
        String bias = NETWORK + name + ".bias";
        return new Layer(
                Parameter.of(weight, SoftPrompt.GROUP, () -> Init.kaiming(seed, weight, out, in)),
                Parameter.of(bias, SoftPrompt.GROUP, () -> Init.uniform(seed, bias, 1 / Math.sqrt(in), out)));
    }

    @Override
    public ConfigKeys keys() {
        return KEYS;
    }

    @Override
    public PTuningConfig readConfig(AdapterFile file) throws MalformedFileException {
        PeftConfigReader config = new PeftConfigReader(file);
        try {
            return new PTuningConfig(
                    config.count("num_virtual_tokens", 0),
                    Encoder.MLP,
                    config.count("encoder_hidden_size", 0),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    @Override
    public Adapter read(String name, PTuningConfig config, AdapterFile file, Points points, List<String> notes)
            throws MalformedFileException {
        notes.add("the rows were made by a network that their file does not hold; further training changes the rows"
                + " themselves");
        return SoftPrompt.read(name, config.virtualTokens(), config.modulesToSave(), file, points, notes);
    }

    @Override
    public Map<String, Object> fileConfig(PTuningConfig config, Points points) {
        Map<String, Object> file = SoftPrompt.fileConfig(config.virtualTokens(), points);
        file.put("encoder_dropout", 0.0);
        file.put("encoder_hidden_size", inner(config, SoftPrompt.point(points).width()));
        file.put("encoder_num_layers", 2);
        file.put("encoder_reparameterization_type", "MLP");
        return file;
    }

    @Override
    public Map<String, TensorData> fileTensors(PTuningConfig config, Adapter adapter) {
        return SoftPrompt.fileTensors(adapter);
    }

    @Override
    public Optional<String> mergeRefusal() {
        return Optional.of(SoftPrompt.mergeRefusal());
    }

    @Override
    public Map<String, Tensor> merged(Adapter adapter, Points points) {
        throw new IllegalStateException("rows of P-tuning cannot be merged: " + SoftPrompt.mergeRefusal());
    }

    @Override
    public long parameterCount(PTuningConfig config, Points points) {
        long width = SoftPrompt.point(points).width();
        long inner = inner(config, width);
        long network = inner * width + inner + inner * inner + inner + width * inner + width;
        return config.virtualTokens() * width + network + SavedModules.elements(points, config.modulesToSave());
    }

    @Override
    public String summary() {
        return "P rows in front of each text, made by a small network while training";
    }

    @Override
    public String settings(PTuningConfig config) {
        return config.virtualTokens() + " virtual tokens";
    }
}
