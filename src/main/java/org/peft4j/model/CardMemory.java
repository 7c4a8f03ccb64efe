package org.peft4j.model;

import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.WeakHashMap;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.ops.Device;
import org.peft4j.ops.Devices;

/** The memory of a model's card. */
public final class CardMemory {
    private CardMemory() {}

    /** Models that have computed: their weights are on their card. */
    private static final Set<Model> COMPUTED =
            Collections.synchronizedSet(Collections.newSetFromMap(new WeakHashMap<>()));

    /** Says that a model has gone through all of its blocks. */
    static void computed(Model model) {
        if (!model.device().isCpu()) {
            COMPUTED.add(model);
        }
    }

    /**
     * Bytes of weights that will come to the card with the first call: those of all matrices that lie in their file until then, and
     * none of a model that has computed.
     */
    public static long toCome(Model model) {
        return toCome(model, Set.of());
    }

    /**
     * The same where an adapter has others in the place of some.
     *
     * @param replaced paths of tensors that nobody asks for
     */
    public static long toCome(Model model, Set<String> replaced) {
        if (COMPUTED.contains(model)) {
            return 0;
        }
        Map<Long, Long> numbers = new HashMap<>(); // a tensor of two names (a tied head) counts once
        long element = Short.BYTES;
        try (PointerScope scope = new PointerScope()) {
            for (TensorPoint point : model.points().tensors().values()) {
                Tensor value = point.value();
                if (Device.of(value).isCpu() && !replaced.contains(point.path())) {
                    numbers.put(value.data_ptr().address(), value.numel());
                } else if (!Device.of(value).isCpu()) {
                    element = value.element_size();
                }
            }
        }
        return element * numbers.values().stream().mapToLong(Long::longValue).sum();
    }

    /** Bytes that are free on a model's device once its weights are there. */
    public static long room(Model model) {
        long free = Devices.freeBytes(model.device());
        return model.device().isCpu() ? free : Math.max(0, free - toCome(model));
    }
}
