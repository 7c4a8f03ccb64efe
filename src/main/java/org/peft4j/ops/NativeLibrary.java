package org.peft4j.ops;

import java.io.File;
import java.io.IOException;
import java.net.URL;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Loader;
import org.jspecify.annotations.Nullable;
import org.peft4j.host.LinkFailure;
import org.peft4j.host.Log;
import org.peft4j.host.NativeCache;
import org.peft4j.host.TemporaryProperty;
import org.slf4j.Logger;

/**
 * Loads libtorch and our libraries, once.
 */
final class NativeLibrary {
    private static final String MEMORY_LIMIT = "org.bytedeco.javacpp.maxPhysicalBytes";

    private static final String CACHE = "org.bytedeco.javacpp.cachedir",
            CACHE_OLD_NAME = "org.bytedeco.javacpp.cacheDir";

    /** A libpeft4j_cuda.so to use instead of the one in the jar. */
    private static final String CUDA_LIBRARY = "peft4j.cuda.library";

    private static final String LOAD_LIBRARIES = "org.bytedeco.javacpp.loadLibraries";

    private static final Logger LOG = Log.of(NativeLibrary.class);

    private NativeLibrary() {}

    private static final class Loaded {
        /** Kept here: native code calls it for as long as the process lives. */
        private static final PeftNative.Logger TO_LOG;

        private static boolean cudaKernels;

        static {
            // JavaCPP stops a process whose memory is above 4 times the Java heap. Ours is mostly tensors outside of
            // it; libtorch says itself when memory is out. Whoever sets the property has their way.
            if (System.getProperty(MEMORY_LIMIT) == null) {
                System.setProperty(MEMORY_LIMIT, "0");
            }
            String platform = Loader.getPlatform();
            if (packed(platform, "libjnipeft4j.so") == null) {
                throw LinkFailure.noLibraries(platform, null);
            }
            LinkFailure.requireCLibrary();
            chooseCache();
            passOverOpenblasRelease();
            try {
                Loader.load(org.bytedeco.pytorch.global.torch.class);
                PeftNative.loadLibrary();
            } catch (LinkageError e) {
                throw LinkFailure.of("the native libraries of libtorch and peft4j", e);
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

        /** Asked of the class loader: on the module path the jar with the libraries is a module of its own. */
        private static @Nullable URL packed(String platform, String library) {
            return NativeLibrary.class.getClassLoader().getResource("org/peft4j/" + platform + "/" + library);
        }

        /** JavaCPP asks once where to unpack; where it was asked before us, or told, that place stays. */
        private static void chooseCache() {
            if (System.getProperty(CACHE) != null || System.getProperty(CACHE_OLD_NAME) != null) {
                return;
            }
            try (TemporaryProperty own = TemporaryProperty.set(
                    CACHE, NativeCache.directory().resolve("javacpp").toString())) {
                Loader.getCacheDir();
            } catch (IOException e) {
                throw LinkFailure.of("JavaCPP's cache", e);
            }
        }

        /**
         * JavaCPP would warn at each start that openblas's preset is of another release than itself. The POM says why it
         * is, and the tests run with it. The check is made when this class is initialised, and only where libraries are
         * loaded at all; nothing is loaded by it.
         */
        private static void passOverOpenblasRelease() {
            try (TemporaryProperty quiet = TemporaryProperty.set(LOAD_LIBRARIES, "false")) {
                Class.forName(
                        "org.bytedeco.openblas.presets.openblas_nolapack",
                        true,
                        org.bytedeco.pytorch.global.torch.class.getClassLoader());
            } catch (ClassNotFoundException e) {
                LOG.debug("no preset of openblas", e);
            }
        }

        /** Our CUDA kernels, where they are packed; without them CUDA tensors are served by libtorch's operations. */
        private static void loadCuda() {
            String path = System.getProperty(CUDA_LIBRARY);
            try {
                if (path == null) {
                    URL packed = packed(Loader.getPlatform(), "libpeft4j_cuda.so");
                    File file = packed == null ? null : Loader.cacheResource(packed);
                    path = file == null ? null : file.getPath();
                }
                if (path != null) {
                    PeftNative.load_cuda(path);
                    cudaKernels = true;
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

    /** Whether libpeft4j_cuda.so was found and could be opened. */
    static boolean hasCudaKernels() {
        return Loaded.cudaKernels;
    }

    /** Whether our CUDA kernels are packed or named: somebody means to use a card. */
    static boolean meansCards() {
        return System.getProperty(CUDA_LIBRARY) != null
                || Loaded.packed(Loader.getPlatform(), "libpeft4j_cuda.so") != null;
    }
}
