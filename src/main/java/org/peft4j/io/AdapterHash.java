package org.peft4j.io;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.TreeMap;
import org.peft4j.io.safetensors.TensorData;

/**
 * Tells one adapter from another: SHA-256 over its config and each tensor's name, type, shape and bytes, in the order of the names, and
 * those of the adapters inside of it. Which kind of file they came from does not matter.
 */
public final class AdapterHash {
    private AdapterHash() {}

    /** 64 hexadecimal digits. */
    public static String of(AdapterFile adapter) {
        MessageDigest digest;
        try {
            digest = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every Java has SHA-256", e);
        }
        add(digest, adapter);
        return HexFormat.of().formatHex(digest.digest());
    }

    private static void add(MessageDigest digest, AdapterFile adapter) {
        digest.update(Json.write(new TreeMap<>(adapter.config())).getBytes(StandardCharsets.UTF_8));
        for (TensorData tensor : new TreeMap<>(adapter.tensors()).values()) {
            String head = tensor.name() + "\n" + tensor.dtype() + tensor.shape() + "\n";
            digest.update(head.getBytes(StandardCharsets.UTF_8));
            digest.update(tensor.bytes().duplicate());
        }
        adapter.inside().forEach(part -> add(digest, part));
    }
}
