package org.peft4j.info;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.config.Dtype;
import org.peft4j.error.ConfigException;
import org.peft4j.host.CLibrary;
import org.peft4j.host.NativeCache;
import org.peft4j.ops.Device;
import org.peft4j.ops.Devices;
import org.peft4j.ops.Ops;

/** What computes here: versions, processor features, kernels. For {@code peft4j info} and the files of a run. */
public final class Machine {
    private Machine() {}

    /** Versions that matter to a result. */
    public static Map<String, String> versions() {
        Map<String, String> versions = new TreeMap<>();
        versions.put("peft4j", version());
        versions.put("java", Runtime.version().toString());
        versions.put("native", Ops.buildInfo());
        versions.put("javacpp", String.valueOf(version("org.bytedeco", "javacpp")));
        versions.put("pytorch", String.valueOf(version("org.bytedeco", "pytorch")));
        return versions;
    }

    /** The version of this jar; {@code development} when run from class files. */
    public static String version() {
        // Of Maven's file in the jar: a manifest's version is not seen on the module path.
        Properties jar = new Properties();
        try (InputStream file = Machine.class.getResourceAsStream("/META-INF/maven/org.peft4j/peft4j/pom.properties")) {
            if (file != null) {
                jar.load(file);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return jar.getProperty("version", "development");
    }

    private static String version(String group, String artifact) {
        try {
            return Loader.getVersion(group, artifact);
        } catch (IOException e) {
            return "unknown";
        }
    }

    /**
     * One line: device, types, and of the CPU threads and instruction set.
     *
     * @param device {@code cpu} or {@code cuda:N}
     */
    public static String compute(String device, Dtype dtype) {
        return device.equals("cpu") ? onCpu(dtype) : onCard(Device.parse(device), dtype);
    }

    private static String onCard(Device device, Dtype dtype) {
        Ops.CudaDevice card = Ops.cudaDevices().get(device.card());
        return device + ", " + card.name() + " (compute capability " + card.computeCapability() + "), "
                + dtype.name().toLowerCase(Locale.ROOT) + ", CUDA "
                + card.versions().runtime();
    }

    private static String onCpu(Dtype dtype) {
        boolean bfloat16 = dtype == Dtype.BFLOAT16;
        String types = !bfloat16
                ? "float32"
                : Ops.hasNativeBfloat16()
                        ? "bfloat16"
                        : "weights bfloat16, computed in float32 (the processor does not multiply bfloat16)";
        return "CPU, " + torch.get_num_threads() + " threads, " + types + ", kernels for " + Ops.cpuCapability();
    }

    /** What can be told without the native libraries, also where they cannot be loaded. */
    public static Map<String, String> system() {
        Map<String, String> facts = new LinkedHashMap<>();
        facts.put(
                "system",
                System.getProperty("os.name") + " on " + System.getProperty("os.arch")
                        + "; there are native libraries for Linux on x86-64 (amd64)");
        facts.put("C library", CLibrary.description());
        facts.put("native libraries are unpacked into", cache());
        return facts;
    }

    private static String cache() {
        try {
            return NativeCache.directory() + " (-Dpeft4j.cache or PEFT4J_CACHE names another)";
        } catch (ConfigException e) {
            return String.valueOf(e.getMessage());
        }
    }

    /** Facts by name, in the order to print them. */
    public static Map<String, String> facts() {
        Map<String, String> facts = new LinkedHashMap<>();
        versions().forEach((name, version) -> facts.put("version of " + name, version));
        facts.put("device auto", Devices.choose("auto") + "; the cpu has " + torch.get_num_threads() + " threads");
        facts.put("kernels compiled for", Ops.cpuCapability());
        facts.put(
                "bfloat16",
                Ops.hasNativeBfloat16()
                        ? "native: dtype bfloat16 stores and multiplies bfloat16"
                        : "not native: dtype bfloat16 stores bfloat16 and computes in float32");
        facts.putAll(Cuda.facts());
        return facts;
    }

    /** Devices of this machine: {@code cpu}, and every card that the driver shows. */
    public static List<String> devices() {
        List<String> devices = new ArrayList<>(List.of("cpu"));
        Ops.cudaDevices().forEach(card -> devices.add("cuda:" + card.index()));
        return devices;
    }

    /** Each native operation on a device: name, provider in use, reason. */
    public static List<List<String>> kernels(String device) {
        return rows(Ops.kernels(Device.parse(device)));
    }

    /** The same on any card, whether there is one or not. */
    public static List<List<String>> cudaKernels() {
        return rows(Ops.cudaKernels());
    }

    private static List<List<String>> rows(List<Ops.Kernel> kernels) {
        return kernels.stream()
                .map(kernel -> List.of(kernel.operation(), kernel.provider(), kernel.reason()))
                .toList();
    }
}
