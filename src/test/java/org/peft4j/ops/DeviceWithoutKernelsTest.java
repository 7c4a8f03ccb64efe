package org.peft4j.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Tensors of a device, where libpeft4j_cuda.so is missing. A meta tensor is on no CPU, and every machine has it. */
class DeviceWithoutKernelsTest {
    private final PrintStream err = System.err;
    private final ByteArrayOutputStream log = new ByteArrayOutputStream();

    @BeforeEach
    void forgetTheLibrary() {
        System.setErr(new PrintStream(log, true, StandardCharsets.UTF_8));
        Ops.setKernels("auto");
        PeftNative.load_cuda("");
    }

    @AfterEach
    void restore() {
        System.setErr(err);
        Ops.setKernels("auto");
    }

    private static Tensor onDevice() {
        return torch.empty(new long[] {3, 4}, new TensorOptions(new Device("meta")), null);
    }

    @Test
    void areServedByLibtorchAndOneLineSaysWhatIsMissing() {
        try (PointerScope scope = new PointerScope()) {
            assertThat(Ops.gelu(onDevice()).sizes().get(1)).isEqualTo(4);
            assertThat(Ops.gelu(onDevice()).sizes().get(1)).isEqualTo(4);
        }
        assertThat(log.toString(StandardCharsets.UTF_8).lines().filter(line -> line.contains("peft4j")))
                .singleElement()
                .asString()
                .contains("libpeft4j_cuda.so", "build-scripts/build-cuda.sh", "linux-x86_64-gpu");
    }

    @Test
    void areRefusedWhereOwnKernelsAreDemanded() {
        try (PointerScope scope = new PointerScope()) {
            Tensor x = onDevice();
            Ops.setKernels("own");
            assertThatThrownBy(() -> Ops.gelu(x))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContainingAll("gelu", "meta", "libpeft4j_cuda.so", "build-scripts/build-cuda.sh");
        }
    }
}
