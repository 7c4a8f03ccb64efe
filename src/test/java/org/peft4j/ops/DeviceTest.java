package org.peft4j.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.nn.Tensors;

class DeviceTest {
    @Test
    void namesAreReadAndWritten() {
        assertThat(Device.parse("cpu")).isEqualTo(Device.CPU).hasToString("cpu");
        assertThat(Device.parse("cuda:1")).isEqualTo(Device.cuda(1)).hasToString("cuda:1");
        assertThat(Device.parse("cuda")).isEqualTo(Device.cuda(0)).hasToString("cuda:0");
        assertThat(Device.CPU.isCpu()).isTrue();
        assertThat(Device.cuda(0).isCpu()).isFalse();
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "gpu", "CPU", "cpu:0", "cuda:", "cuda:-1", "cuda:1000", "cuda:0 ", "auto"})
    void otherNamesAreRefused(String name) {
        assertThatThrownBy(() -> Device.parse(name))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("'" + name + "'");
    }

    @Test
    void tensorsAreMadeAndMovedToTheCpu() {
        Ops.kernels(); // loads libtorch
        try (PointerScope scope = new PointerScope()) {
            Tensor ones = torch.ones(new long[] {2}, Device.CPU.options(ScalarType.Float));
            assertThat(Device.of(ones)).isEqualTo(Device.CPU);
            Tensor copy = Device.CPU.copy(ones);
            ones.zero_();
            assertThat(Tensors.toFloats(copy)).containsExactly(1, 1);
            assertThat(Device.CPU.move(copy, ScalarType.Double).scalar_type().intern())
                    .isEqualTo(ScalarType.Double);
            assertThat(Device.CPU.move(copy).data_ptr().address())
                    .isEqualTo(copy.data_ptr().address());
        }
    }
}
