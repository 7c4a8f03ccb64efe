package org.peft4j.method.spi.ptuning;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
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
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;

/**
 * P-tuning (Liu et al. 2021; Hugging Face PEFT): of trained rows e an MLP makes {@code W₄ relu(W₂ relu(W₀ e + b₀) + b₂) + b₄}, or an
 * LSTM over them and a smaller MLP {@code W₂ relu(W₀ lstm(e) + b₀) + b₂}. PEFT's file holds the rows that come out alone, so an
 * adapter that was read trains them themselves.
 */
public final class PTuningMethod implements Method<PTuningConfig> {
    private static final String NETWORK = "prompt_encoder.";

    private static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(SoftPrompt.KEYS)
            .obeyed("encoder_hidden_size", "encoder_num_layers", "encoder_dropout")
            .harmless("the network that made the rows, which the file does not hold", "encoder_reparameterization_type")
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
        return Map.of(
                "num_virtual_tokens",
                "virtual_tokens",
                "encoder_reparameterization_type",
                "encoder",
                "encoder_num_layers",
                "encoder_layers");
    }

    @Override
    public Adapter attach(String name, PTuningConfig config, Points points, long seed) {
        int count = config.virtualTokens();
        long width = SoftPrompt.point(points).width();
        long inner = inner(config, width);
        String rows = NETWORK + "embedding.weight";
        Parameter embedding = Parameter.of(rows, SoftPrompt.GROUP, () -> Init.normal(seed, rows, 1, count, width));
        Adapter.Builder builder = Adapter.builder(name, points.device()).parameter(embedding);
        Function<ForwardContext, Tensor> rowsOf = config.encoder() == Encoder.LSTM
                ? lstm(builder, embedding, config, width, inner, seed)
                : mlp(builder, embedding, config, width, inner, seed);
        SoftPrompt.claim(builder, new SoftPrompt(count, rowsOf), points, config.modulesToSave());
        return builder.build();
    }

    private static Function<ForwardContext, Tensor> mlp(
            Adapter.Builder builder, Parameter embedding, PTuningConfig config, long width, long inner, long seed) {
        if (config.saysLstm()) {
            throw new IllegalArgumentException(
                    "encoder_layers and encoder_dropout are of an LSTM, but encoder is mlp; leave them out");
        }
        LinearLayer first = LinearLayer.of(NETWORK + "mlp_head.0", inner, width, seed);
        LinearLayer second = LinearLayer.of(NETWORK + "mlp_head.2", inner, inner, seed);
        LinearLayer third = LinearLayer.of(NETWORK + "mlp_head.4", width, inner, seed);
        List.of(first, second, third).forEach(layer -> layer.parameters(builder));
        return context -> third.of(second.of(first.of(embedding.value()).relu()).relu());
    }

    private static Function<ForwardContext, Tensor> lstm(
            Adapter.Builder builder, Parameter embedding, PTuningConfig config, long width, long inner, long seed) {
        Lstm lstm = Lstm.of(NETWORK + "lstm_head", width, inner, config.encoderLayers(), config.encoderDropout(), seed);
        LinearLayer first = LinearLayer.of(NETWORK + "mlp_head.0", 2 * inner, 2 * inner, seed);
        LinearLayer second = LinearLayer.of(NETWORK + "mlp_head.2", width, 2 * inner, seed);
        lstm.parameters(builder);
        List.of(first, second).forEach(layer -> layer.parameters(builder));
        return context ->
                second.of(first.of(lstm.of(embedding.value(), context)).relu());
    }

    private static long inner(PTuningConfig config, long width) {
        return config.encoderHiddenSize() == 0 ? width : config.encoderHiddenSize();
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
                    encoder(config),
                    config.count("encoder_hidden_size", 0),
                    config.count("encoder_num_layers", 2),
                    config.number("encoder_dropout", 0),
                    config.texts("modules_to_save"));
        } catch (IllegalArgumentException e) {
            throw config.wrong(e);
        }
    }

    private static Encoder encoder(PeftConfigReader config) {
        return "LSTM".equals(config.get("encoder_reparameterization_type")) ? Encoder.LSTM : Encoder.MLP;
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
        file.put("encoder_dropout", config.encoderDropout());
        file.put("encoder_hidden_size", inner(config, SoftPrompt.point(points).width()));
        file.put("encoder_num_layers", config.encoderLayers());
        file.put("encoder_reparameterization_type", config.encoder().name());
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
    public long parameterCount(PTuningConfig config, Points points) {
        long width = SoftPrompt.point(points).width();
        long inner = inner(config, width);
        long network = config.encoder() == Encoder.LSTM
                ? Lstm.elements(width, inner, config.encoderLayers())
                        + LinearLayer.elements(2 * inner, 2 * inner)
                        + LinearLayer.elements(width, 2 * inner)
                : LinearLayer.elements(inner, width)
                        + LinearLayer.elements(inner, inner)
                        + LinearLayer.elements(width, inner);
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
