package org.peft4j.io.safetensors;

import java.io.IOException;
import java.nio.channels.WritableByteChannel;
import java.util.List;

/**
 * A tensor that can be written: {@link SafeTensors#write} asks for name, type and shape first and then, once, for the
 * bytes, so that a large model never lies in memory twice.
 */
public interface TensorSource {
    /** Name in the file. */
    String name();

    /** Type of the elements. */
    ElementType dtype();

    /** Dimensions, outermost first; empty for a scalar. */
    List<Long> shape();

    /**
     * Writes the elements: row-major, little endian, exactly elements times size bytes. The channel blocks, takes all
     * bytes of a buffer in one call, and need not be closed.
     */
    void writeTo(WritableByteChannel out) throws IOException;
}
