package org.peft4j.ops;

import org.bytedeco.javacpp.Loader;

/**
 * Loads libtorch and our libraries, once.
 */
final class NativeLibrary {
    private NativeLibrary() {}

    private static final class Loaded {
        static {
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
