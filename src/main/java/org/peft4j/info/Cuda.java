package org.peft4j.info;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.host.ByteCount;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/** What of CUDA is here, and what is missing. */
final class Cuda {
    private Cuda() {}

    /** Facts by name, in the order to print them. */
    static Map<String, String> facts() {
        Map<String, String> facts = new LinkedHashMap<>();
        List<Ops.CudaDevice> cards = Ops.cudaDevices();
        String missing = Ops.missingCuda();
        facts.put(
                "CUDA",
                missing.isEmpty() ? cards.size() + (cards.size() == 1 ? " card" : " cards") : "none: " + missing);
        if (!cards.isEmpty()) {
            facts.put("CUDA of the driver", cards.get(0).versions().driver());
            facts.put("CUDA of our kernels", cards.get(0).versions().runtime());
        }
        facts.put(
                "CUDA kernels",
                Ops.hasCudaKernels()
                        ? "libpeft4j_cuda.so is loaded"
                        : "not here: peft4j's own jar is the one for CPUs; org.peft4j:peft4j with classifier " + gpu()
                                + " is the other");
        facts.put("libtorch for CUDA", libtorch());
        for (Ops.CudaDevice card : cards) {
            facts.put(
                    "cuda:" + card.index(),
                    card.name() + ", compute capability " + card.computeCapability() + ", "
                            + (missing.isEmpty()
                                    ? ByteCount.text(Ops.freeBytes(Device.cuda(card.index()))) + " free of "
                                    : "")
                            + ByteCount.text(card.totalBytes()));
        }
        return facts;
    }

    /** The GPU preset falls back to its CPU build without a word; here is the word. */
    private static String libtorch() {
        String gpu = gpu();
        if (torch.class.getResource("/org/bytedeco/pytorch/" + gpu + "/libtorch_cuda.so") == null) {
            return "not here: its jar is the one for CPUs; org.bytedeco:pytorch with classifier " + gpu
                    + " is the other";
        }
        return torch.cuda_is_available()
                ? "loaded"
                : "its jar is here, but it computes on the CPU: it found no driver, no card, or not CUDA's own libraries"
                        + " (org.bytedeco:cuda with classifier " + Loader.getPlatform() + "-redist brings those)";
    }

    /** The classifier of jars for cards. */
    private static String gpu() {
        return Loader.getPlatform() + "-gpu";
    }
}
