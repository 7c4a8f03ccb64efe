package org.peft4j.ops;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.bytedeco.pytorch.DeviceOptional;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Where a tensor lies and operations on it run: {@code cpu}, or the card {@code cuda:N}. A model is on one device; what meets its
 * tensors is made there. There is no current device.
 *
 * @param card number of the card, {@link #NONE} of the CPU
 */
public record Device(int card) {
    private static final int NONE = -1;
    private static final Pattern NAME = Pattern.compile("cuda(?::(\\d{1,3}))?");

    public static final Device CPU = new Device(NONE);

    public Device {
        if (card < NONE) {
            throw new IllegalArgumentException("a card's number must not be negative, got " + card);
        }
    }

    /** The card of this number. */
    public static Device cuda(int card) {
        return new Device(card);
    }

    /** Where the tensor lies. */
    public static Device of(Tensor t) {
        return t.is_cuda() ? cuda(t.device().index()) : CPU;
    }

    /** The device of this name; {@code cuda} is the first card. */
    public static Device parse(String name) {
        Matcher cuda = NAME.matcher(name);
        if (cuda.matches()) {
            return cuda(cuda.group(1) == null ? 0 : Integer.parseInt(cuda.group(1)));
        }
        if (!name.equals("cpu")) {
            throw new IllegalArgumentException("a device is cpu or cuda:N, got '" + name + "'");
        }
        return CPU;
    }

    public boolean isCpu() {
        return card == NONE;
    }

    /** For libtorch's functions that make tensors: of this type, here. */
    public TensorOptions options(ScalarType type) {
        TensorOptions options = new TensorOptions(type);
        return isCpu() ? options : options.device(new DeviceOptional(handle()));
    }

    /** The tensor here and of this type: itself if it is. */
    public Tensor move(Tensor t, ScalarType type) {
        return t.to(handle(), type);
    }

    /** The tensor here: itself if it is. */
    public Tensor move(Tensor t) {
        return move(t, t.scalar_type());
    }

    /** A copy here of a tensor on the CPU, whose memory may go at once. To a card by pinned memory: nothing waits for it. */
    public Tensor copy(Tensor t) {
        return isCpu()
                ? t.clone()
                : t.pin_memory().to(handle(), t.scalar_type(), true, false, new MemoryFormatOptional());
    }

    /** libtorch's. */
    org.bytedeco.pytorch.Device handle() {
        return new org.bytedeco.pytorch.Device(toString());
    }

    @Override
    public String toString() {
        return isCpu() ? "cpu" : "cuda:" + card;
    }
}
