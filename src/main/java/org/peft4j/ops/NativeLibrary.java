package org.peft4j.ops;

import java.io.File;
import java.io.IOException;
import java.net.URL;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Loader;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Loads libtorch and our libraries, once.
 */
final class NativeLibrary {
    private static final String MEMORY_LIMIT = "org.bytedeco.javacpp.maxPhysicalBytes";

    /** A libpeft4j_cuda.so to use instead of the one in the jar. */
    private static final String CUDA_LIBRARY = "peft4j.cuda.library";

    private static final Logger LOG = LoggerFactory.getLogger(NativeLibrary.class);

    private NativeLibrary() {}

    private static final class Loaded {
        /** Kept here: native code calls it for as long as the process lives. */
        private static final PeftNative.Logger TO_LOG;

        static {
            // JavaCPP stops a process whose memory is above 4 times the Java heap. Ours is mostly tensors outside of
            // it; libtorch says itself when memory is out. Whoever sets the property has their way.
            if (System.getProperty(MEMORY_LIMIT) == null) {
                System.setProperty(MEMORY_LIMIT, "0");
            }
            Loader.load(org.bytedeco.pytorch.global.torch.class);
            try {
                PeftNative.loadLibrary();
            } catch (UnsatisfiedLinkError e) {
                String platform = Loader.getPlatform();
                UnsatisfiedLinkError missing = new UnsatisfiedLinkError("peft4j: no native libraries for " + platform
                        + "; add the dependency org.peft4j:peft4j:VERSION:" + platform + " (classifier " + platform
                        + ") beside the main jar");
                missing.initCause(e);
                throw missing;
            }
            TO_LOG = new PeftNative.Logger() {
                @Override
                public void call(BytePointer line) {
                    LOG.warn(line.getString());
                }
            };
            TO_LOG.retainReference(); // the caller's PointerScope must not free it
            PeftNative.set_logger(TO_LOG);
            loadCuda();
        }

        /** Our CUDA kernels, where they are packed; without them CUDA tensors are served by libtorch's operations. */
        private static void loadCuda() {
            String path = System.getProperty(CUDA_LIBRARY);
            try {
                if (path == null) {
                    URL packed = NativeLibrary.class.getResource(
                            "/org/peft4j/" + Loader.getPlatform() + "/libpeft4j_cuda.so");
                    File file = packed == null ? null : Loader.cacheResource(packed);
                    path = file == null ? null : file.getPath();
                }
                if (path != null) {
                    PeftNative.load_cuda(path);
                }
            } catch (IOException | RuntimeException e) {
                LOG.warn("peft4j's CUDA kernels could not be loaded: {}", e.getMessage());
            }
        }

        static void touch() {}
    }

    static void load() {
        Loaded.touch();
    }
}
