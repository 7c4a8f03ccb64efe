package org.peft4j.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.error.DeviceException;
import org.peft4j.nn.Tensors;

/** Whose mistake a native failure was. */
class NativeFailureTest {
    private static RuntimeException of(String message) {
        return NativeFailure.of(new RuntimeException(
                message + "\nException raised from f at native/f.cpp:1 (most recent call first):\n#0"));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "attention: q must be contiguous",
                "adamw: step counts from 1, got 0",
                "Weight: needs at least one matrix, got none",
                "peft4j.kernels: gelu has no provider 'fast'",
                "map_tensor: dtype must be one of [F32], got X"
            })
    void whatOurChecksRefuseIsTheCallersMistake(String message) {
        assertThat(of(message)).isInstanceOf(IllegalArgumentException.class).hasMessage(message);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)",
                "embedding(): argument 'indices' must be Long",
                "expected scalar type Float but found Half",
                "adamw of 3 tensors: CUDA error 700",
                "CUDA error: an illegal memory access was encountered"
            })
    void everythingElseIsNot(String message) {
        assertThat(of(message)).isInstanceOf(DeviceException.class).hasMessage("a native operation failed: " + message);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "out of memory: wanted 123 bytes, 7 are in use by tensors | out of memory: wanted 123 bytes, 7 are in use",
                "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has | out of memory: wanted 20.00 GiB;",
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error | wanted 4096 bytes;",
                "std::bad_alloc | out of memory;"
            })
    void memorySaysWhatWasWanted(String message, String told) {
        assertThat(of(message)).isInstanceOf(DeviceException.class).hasMessageContainingAll(told, "batch_size");
    }

    @Test
    void exceptionsOfJavaPassThrough() {
        RuntimeException own = new IllegalStateException("closed");
        assertThat(NativeFailure.of(own)).isSameAs(own);
    }

    @Test
    void libtorchItselfFails() {
        try (PointerScope scope = new PointerScope()) {
            Tensor a = Tensors.zeros(2, 3);
            assertThatThrownBy(() -> Ops.checked(() -> torch.matmul(a, a)))
                    .isInstanceOf(DeviceException.class)
                    .hasMessageContaining("shapes cannot be multiplied");
            assertThatThrownBy(() -> Ops.gelu(new Tensor())).isInstanceOf(IllegalArgumentException.class);
        }
    }

    @Test
    void moreMemoryThanThereIs() {
        try (PointerScope scope = new PointerScope()) {
            assertThatThrownBy(() -> Ops.checked(() -> torch.zeros(1L << 50)))
                    .isInstanceOf(DeviceException.class)
                    .hasMessageContainingAll("out of memory: wanted", String.valueOf(1L << 52));
        }
    }
}
