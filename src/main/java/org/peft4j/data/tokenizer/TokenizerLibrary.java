package org.peft4j.data.tokenizer;

import ai.djl.huggingface.tokenizers.jni.LibUtils;
import java.nio.file.Path;
import org.peft4j.host.LinkFailure;
import org.peft4j.host.Log;
import org.peft4j.host.NativeCache;
import org.peft4j.host.TemporaryProperty;

/**
 * Loads the tokenizers' native library, once, from {@link NativeCache} instead of a directory of its own. It would report
 * to its makers on some clouds and can download; both are switched off. What the user set stays.
 */
final class TokenizerLibrary {
    static {
        setIfAbsent("ai.djl.offline");
        setIfAbsent("OPT_OUT_TRACKING");
        Log.ready();
        LinkFailure.requireCLibrary();
        try {
            if (isSet("ENGINE_CACHE_DIR") || isSet("DJL_CACHE_DIR")) {
                LibUtils.checkStatus();
            } else {
                loadFrom(NativeCache.directory());
            }
        } catch (LinkageError e) {
            throw LinkFailure.of("the tokenizers' native library", e);
        } catch (ai.djl.engine.EngineException e) { // of no common type otherwise
            throw LinkFailure.of("the tokenizers' native library", e);
        }
    }

    private TokenizerLibrary() {}

    static void load() {
        // The class is initialised.
    }

    /** It asks JNA whether there is CUDA, and JNA unpacks a library, too. */
    private static void loadFrom(Path cache) {
        try (TemporaryProperty own = TemporaryProperty.set(
                        "ENGINE_CACHE_DIR", cache.resolve("djl").toString());
                TemporaryProperty jna = isSet("jna.tmpdir")
                        ? TemporaryProperty.set("jna.tmpdir", System.getProperty("jna.tmpdir"))
                        : TemporaryProperty.set(
                                "jna.tmpdir", cache.resolve("jna").toString())) {
            LibUtils.checkStatus();
        }
    }

    private static boolean isSet(String name) {
        return System.getProperty(name) != null || System.getenv(name) != null;
    }

    private static void setIfAbsent(String property) {
        if (System.getProperty(property) == null) {
            System.setProperty(property, "true");
        }
    }
}
