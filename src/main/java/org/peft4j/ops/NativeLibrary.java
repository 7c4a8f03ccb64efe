package org.peft4j.ops;

import org.bytedeco.javacpp.Loader;

/**
 * Loads libtorch and our libraries, once.
 */
final class NativeLibrary {
    private static final String MEMORY_LIMIT = "org.bytedeco.javacpp.maxPhysicalBytes";

    private NativeLibrary() {}

    private static final class Loaded {
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
        }

        static void touch() {}
    }

    static void load() {
        Loaded.touch();
    }
}
