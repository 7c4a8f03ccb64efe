package org.peft4j;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.ops.Ops;

/**
 * The cards that the host plays ({@code native/host_devices}): {@code cuda:0} and {@code cuda:1} in the host's memory, through our
 * real CUDA kernels. They are there in a process that has {@code -Dpeft4j.cuda.library=…/libpeft4j_host_devices.so}, for all
 * of its life; {@code build-scripts/cuda-java-tests.sh} runs the tests with the tag {@link #TAG} in one.
 */
public final class HostDevices {
    public static final String TAG = "host-devices";

    static {
        Ops.buildInfo(); // loads libtorch and, by the property, the cards
        System.load(Path.of(System.getProperty("peft4j.cuda.library"))
                .toAbsolutePath()
                .toString());
    }

    private HostDevices() {}

    /** Forgets what was recorded. From now on calls of kernels are meant for this card; -1: for any. */
    public static native void recordCallsFor(int card);

    /** How often each function of {@code cuda/peft4j_cuda.h} was called; those that were not have 0. */
    public static Map<String, Long> launches() {
        return counts(launchedLines());
    }

    /** Calls with another device's current, or another stream. */
    public static List<String> wrongCalls() {
        return wrong().lines().toList();
    }

    /** Operations of libtorch after which the host had waited for the card, and how often. */
    public static Map<String, Long> waits() {
        return counts(waitedLines());
    }

    /** Whether memory was taken of the card, or asked for, since the last {@link #recordCallsFor}: a real one has a context then. */
    public static native boolean hasContext(int card);

    private static native String launchedLines();

    private static native String wrong();

    private static native String waitedLines();

    /** How much memory the card has; at first 8 GiB. */
    public static native void setMemory(int card, long bytes);

    /** 90 is 9.0, as the cards have at first. */
    public static native void setCapability(int card, int capability);

    /** 13000 is CUDA 13.0, as the driver serves at first; 0: there is no driver. */
    public static native void setDriver(int version);

    private static Map<String, Long> counts(String lines) {
        Map<String, Long> counts = new LinkedHashMap<>();
        lines.lines().map(line -> line.split("\t", -1)).forEach(c -> counts.put(c[0], Long.valueOf(c[1])));
        return counts;
    }
}
