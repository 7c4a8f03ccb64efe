package org.peft4j.model;

import java.util.HashMap;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.ops.Device;
import org.peft4j.ops.Devices;
import org.peft4j.ops.Ops;

/** The memory of a model's card. */
public final class CardMemory {
    private CardMemory() {}

    /**
     * Bytes of weights that will come to the card with the first call, as far as can be told: those of all matrices, less what tensors
     * hold there already.
     */
    public static long toCome(Model model) {
        Map<Long, Long> bytes = new HashMap<>(); // a tensor of two names (a tied head) counts once
        long element = Short.BYTES;
        try (PointerScope scope = new PointerScope()) {
            for (TensorPoint point : model.points().tensors().values()) {
                Tensor value = point.value();
                if (!Device.of(value).isCpu()) {
                    element = value.element_size();
                }
                bytes.put(value.data_ptr().address(), value.numel());
            }
        }
        long numbers = bytes.values().stream().mapToLong(Long::longValue).sum();
        return Math.max(0, numbers * element - Ops.liveBytes(model.device()));
    }

    /** Bytes that are free on a model's device once its weights are there. */
    public static long room(Model model) {
        long free = Devices.freeBytes(model.device());
        return model.device().isCpu() ? free : Math.max(0, free - toCome(model));
    }
}
