package org.peft4j.io.fetch;

import com.google.protobuf.InvalidProtocolBufferException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.safetensors.TensorData;

/**
 * What we need of an ONNX file: the graph's initialisers (its weights), and for each node its name, kind, inputs and
 * outputs. The rest of the file is skipped.
 *
 * @param nodes        in the order of the file
 * @param initializers by name, in the order of the file
 */
record OnnxModel(List<Node> nodes, Map<String, TensorData> initializers) {
    /**
     * An operation of the graph.
     *
     * @param name    may be empty
     * @param opType  such as {@code MatMul}
     * @param inputs  names of initialisers or of other nodes' outputs
     * @param outputs names it gives to its results
     */
    record Node(String name, String opType, List<String> inputs, List<String> outputs) {}

    /**
     * Reads a model; everything is held in memory.
     *
     * @param path for messages
     * @throws MalformedFileException on anything that is not a protobuf message of these fields
     */
    static OnnxModel read(Path path, InputStream in) throws IOException {
        OnnxReader reader = new OnnxReader(path, in);
        try {
            return reader.readModel();
        } catch (InvalidProtocolBufferException e) {
            throw new MalformedFileException(path, reader.offset(), "no valid ONNX file: " + e.getMessage(), e);
        }
    }
}
