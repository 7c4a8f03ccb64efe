package org.peft4j.method;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.peft4j.method.bitfit.BitFitConfig;
import org.peft4j.method.boft.BoftConfig;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.c3a.C3aConfig;
import org.peft4j.method.fourierft.FourierFtConfig;
import org.peft4j.method.gralora.GraloraConfig;
import org.peft4j.method.hra.HraConfig;
import org.peft4j.method.ia3.Ia3Config;
import org.peft4j.method.miss.MissConfig;
import org.peft4j.method.oft.OftConfig;
import org.peft4j.method.prompt.PromptConfig;
import org.peft4j.method.ptuning.Encoder;
import org.peft4j.method.ptuning.PTuningConfig;
import org.peft4j.method.road.RoadConfig;
import org.peft4j.method.spi.Methods;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Point;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.SequencePoint;
import org.peft4j.nn.seam.SublayerPoint;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.ops.Ops;

/** Numbers of trained elements that the papers and their libraries give for BERT-base: 12 layers, 768 wide, MLP of 3072. */
class ParameterCountTest {
    static {
        Ops.kernels(); // loads libtorch
    }

    private static final int WIDTH = 768;

    private static Points bertBase() {
        List<LinearPoint> linears = new ArrayList<>();
        List<KeyValuePoint> keyValues = new ArrayList<>();
        List<Point<?>> others = new ArrayList<>(List.of(new SequencePoint("bert.embeddings", WIDTH)));
        Map<String, TensorPoint> tensors = new LinkedHashMap<>();
        tensor(tensors, "bert.embeddings.LayerNorm.bias", WIDTH);
        for (int layer = 0; layer < 12; layer++) {
            String path = "bert.encoder.layer." + layer + ".";
            for (String name : List.of("query", "key", "value")) {
                linear(linears, tensors, path + "attention.self." + name, WIDTH, WIDTH);
            }
            linear(linears, tensors, path + "attention.output.dense", WIDTH, WIDTH);
            linear(linears, tensors, path + "intermediate.dense", WIDTH, 4 * WIDTH);
            linear(linears, tensors, path + "output.dense", 4 * WIDTH, WIDTH);
            tensor(tensors, path + "attention.output.LayerNorm.bias", WIDTH);
            tensor(tensors, path + "output.LayerNorm.bias", WIDTH);
            keyValues.add(new KeyValuePoint(path + "attention.self", layer, 12, 64));
            others.add(new SublayerPoint(path + "attention.output", layer, SublayerPoint.Kind.ATTENTION, WIDTH));
            others.add(new SublayerPoint(path + "output", layer, SublayerPoint.Kind.MLP, WIDTH));
        }
        return new Points("bert", "BertModel", WIDTH, 12, 12, linears, keyValues, tensors, List.of()).and(others);
    }

    private static void linear(
            List<LinearPoint> linears, Map<String, TensorPoint> tensors, String path, long in, long out) {
        linears.add(new LinearPoint(path, in, out, false));
        tensor(tensors, path + ".bias", out);
    }

    private static void tensor(Map<String, TensorPoint> tensors, String path, long size) {
        Tensor expanded = torch.zeros(1).expand(size);
        tensors.put(path, new TensorPoint(path, expanded));
    }

    private static <C extends MethodConfig> long count(C config) {
        try (PointerScope scope = new PointerScope()) {
            return Methods.of(config).parameterCount(config, bertBase());
        }
    }

    @Test
    void ofSequentialBottlenecks() {
        assertThat(count(BottleneckConfig.defaults())).isEqualTo(894_528);
    }

    @Test
    void ofAllBiases() {
        assertThat(count(BitFitConfig.defaults())).isEqualTo(102_144); // without the pooler's 768
    }

    @Test
    void ofFactors() {
        // key, value; "output.dense" is attention's, too, whose input is 768, beside the MLP's of 3072
        assertThat(count(Ia3Config.defaults())).isEqualTo(12 * (3 * WIDTH + 4 * WIDTH));
    }

    @Test
    void ofRotations() {
        assertThat(count(OftConfig.defaults())).isEqualTo(285_696);
        assertThat(count(BoftConfig.defaults())).isEqualTo(92_160);
        assertThat(count(HraConfig.defaults())).isEqualTo(147_456);
        assertThat(count(RoadConfig.defaults())).isEqualTo(18_432);
    }

    @Test
    void ofBlocksAndFrequencies() {
        assertThat(count(MissConfig.defaults())).isEqualTo(1_179_648);
        assertThat(count(FourierFtConfig.defaults())).isEqualTo(24_000);
        assertThat(count(C3aConfig.defaults())).isEqualTo(55_296);
        assertThat(count(GraloraConfig.defaults())).isEqualTo(1_179_648);
    }

    @Test
    void ofPrompts() {
        assertThat(count(PromptConfig.of(100))).isEqualTo(100 * WIDTH);
        assertThat(count(new PTuningConfig(20, Encoder.MLP, 128, List.of())))
                .isEqualTo(20 * WIDTH + WIDTH * 128 + 128 + 128 * 128 + 128 + 128 * WIDTH + WIDTH);
    }
}
