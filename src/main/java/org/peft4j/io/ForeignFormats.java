package org.peft4j.io;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Recognizes, by name or by first bytes, files that people have instead of safetensors, and says what to do with them.
 * Pickle files are never read: loading one can run any code that its author put into it.
 */
final class ForeignFormats {
    private static final List<String> PICKLE_SUFFIXES = List.of(".bin", ".pt", ".pth", ".ckpt", ".pkl");

    /** The file names are OLD and NEW, not the real ones: nobody should paste a stranger's file name into a shell. */
    private static final String CONVERT = "a pickle file, which is not read because loading one can run any code in it;"
            + " convert it once, where PyTorch is installed: python -c \"import sys, torch;"
            + " from safetensors.torch import save_file;"
            + " w = torch.load(sys.argv[1], map_location='cpu', weights_only=True);"
            + " save_file({k: v.clone().contiguous() for k, v in w.items()}, sys.argv[2], metadata={'format': 'pt'})\""
            + " OLD NEW.safetensors";

    private ForeignFormats() {}

    /** Whether the name is one that PyTorch gives to pickle files. */
    static boolean isPickleName(String fileName) {
        return PICKLE_SUFFIXES.stream().anyMatch(fileName::endsWith);
    }

    /** What to say about a file with such a name. */
    static String refusePickle(String fileName) {
        return "'" + fileName + "' is " + CONVERT;
    }

    /**
     * What a file is that begins with these bytes and turned out to be no safetensors file; null if unknown. To be asked
     * only then: a header of 640 bytes makes a valid safetensors file begin as a pickle does.
     */
    static @Nullable String describe(byte[] start) {
        String text = new String(start, StandardCharsets.ISO_8859_1);
        if (text.startsWith("PK") || (text.startsWith("\u0080") && text.length() > 1 && text.charAt(1) <= 5)) {
            return "the content is " + CONVERT;
        }
        if (text.startsWith("version ")) {
            return "the content is a Git LFS pointer, not the file itself; fetch it with: git lfs pull";
        }
        if (text.startsWith("<")) {
            return "the content is a web page, not a safetensors file; download the file itself";
        }
        if (text.startsWith("GGUF")) {
            return "the content is GGUF, not safetensors; take the model in safetensors form";
        }
        return null;
    }
}
