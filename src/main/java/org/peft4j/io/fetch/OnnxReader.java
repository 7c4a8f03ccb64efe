package org.peft4j.io.fetch;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedInputStream;
import com.google.protobuf.WireFormat;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.safetensors.ElementType;
import org.peft4j.io.safetensors.TensorData;

/**
 * The protobuf side of {@link OnnxModel}, by field numbers, since a generated class for all of ONNX would be larger than
 * this project. Fields that occur once in a sound file are refused when they occur twice.
 *
 * @see <a href="https://github.com/onnx/onnx/blob/v1.19.0/onnx/onnx.proto">onnx.proto</a>
 */
final class OnnxReader {
    private static final int MODEL_GRAPH = 7;
    private static final int GRAPH_NODE = 1;
    private static final int GRAPH_INITIALIZER = 5;
    private static final int NODE_INPUT = 1;
    private static final int NODE_OUTPUT = 2;
    private static final int NODE_NAME = 3;
    private static final int NODE_OP_TYPE = 4;
    private static final int TENSOR_DIMS = 1;
    private static final int TENSOR_DATA_TYPE = 2;
    private static final int TENSOR_FLOAT_DATA = 4;
    private static final int TENSOR_NAME = 8;
    private static final int TENSOR_RAW_DATA = 9;

    /** Nodes, initialisers, and names in one node; each may be an object of 100 bytes from 2 bytes of file. */
    private static final int MAX_COUNT = 100_000;

    private static final int MAX_RANK = 64;

    private static final Map<Integer, ElementType> TYPES = Map.of(
            1,
            ElementType.F32,
            2,
            ElementType.U8,
            3,
            ElementType.I8,
            5,
            ElementType.I16,
            6,
            ElementType.I32,
            7,
            ElementType.I64,
            9,
            ElementType.BOOL,
            10,
            ElementType.F16,
            11,
            ElementType.F64,
            16,
            ElementType.BF16);

    private final Path path;
    private final CodedInputStream in;
    private final List<OnnxModel.Node> nodes = new ArrayList<>();
    private final Map<String, TensorData> initializers = new LinkedHashMap<>();

    OnnxReader(Path path, InputStream stream) {
        this.path = path;
        this.in = CodedInputStream.newInstance(stream);
    }

    /** Bytes read so far. */
    long offset() {
        return in.getTotalBytesRead();
    }

    OnnxModel readModel() throws IOException {
        boolean graph = false;
        for (int tag = in.readTag(); tag != 0; tag = in.readTag()) {
            if (WireFormat.getTagFieldNumber(tag) == MODEL_GRAPH) {
                if (graph) {
                    throw malformed("a model has one graph, this file has two");
                }
                graph = true;
                message(tag, this::graphField);
            } else {
                skip(tag);
            }
        }
        if (!graph) {
            throw malformed("an ONNX model must have a graph (field 7), this file has none");
        }
        return new OnnxModel(List.copyOf(nodes), Collections.unmodifiableMap(initializers));
    }

    private void graphField(int tag) throws IOException {
        switch (WireFormat.getTagFieldNumber(tag)) {
            case GRAPH_NODE -> nodes.add(node(tag));
            case GRAPH_INITIALIZER -> {
                TensorData tensor = tensor(tag);
                if (initializers.put(tensor.name(), tensor) != null) {
                    throw malformed("initialiser '" + tensor.name() + "' is there twice");
                }
            }
            default -> skip(tag);
        }
        if (nodes.size() > MAX_COUNT || initializers.size() > MAX_COUNT) {
            throw malformed("more than " + MAX_COUNT + " nodes or initialisers");
        }
    }

    private OnnxModel.Node node(int tag) throws IOException {
        NodeFields fields = new NodeFields();
        message(tag, fields);
        return new OnnxModel.Node(
                fields.name == null ? "" : fields.name,
                fields.opType == null ? "" : fields.opType,
                List.copyOf(fields.inputs),
                List.copyOf(fields.outputs));
    }

    private TensorData tensor(int tag) throws IOException {
        TensorFields fields = new TensorFields();
        message(tag, fields);
        if (fields.name == null) {
            throw malformed("an initialiser has no name");
        }
        ElementType dtype = fields.dataType == null ? null : TYPES.get(fields.dataType);
        if (dtype == null) {
            throw malformed("initialiser '" + fields.name + "' must have one of the data types " + TYPES + ", got "
                    + fields.dataType);
        }
        if (fields.raw != null && fields.floats != null) {
            throw malformed("initialiser '" + fields.name + "' has both raw_data and float_data");
        }
        if (fields.floats != null && dtype != ElementType.F32) {
            throw malformed("initialiser '" + fields.name + "' is " + dtype + " but has float_data");
        }
        ByteBuffer bytes = ByteBuffer.allocate(0);
        if (fields.raw != null) {
            bytes = fields.raw.asReadOnlyByteBuffer();
        } else if (fields.floats != null) {
            bytes = ByteBuffer.wrap(fields.floats.toByteArray());
        }
        try {
            return new TensorData(fields.name, dtype, fields.dims, bytes);
        } catch (IllegalArgumentException e) {
            throw new MalformedFileException(
                    path,
                    offset(),
                    "initialiser (values outside raw_data and float_data are not read): " + e.getMessage(),
                    e);
        }
    }

    /** Reads a field, after its tag. */
    private interface ReadsField {
        void read(int tag) throws IOException;
    }

    private final class NodeFields implements ReadsField {
        private @Nullable String name;
        private @Nullable String opType;
        private final List<String> inputs = new ArrayList<>();
        private final List<String> outputs = new ArrayList<>();

        @Override
        public void read(int tag) throws IOException {
            switch (WireFormat.getTagFieldNumber(tag)) {
                case NODE_INPUT -> inputs.add(text(tag));
                case NODE_OUTPUT -> outputs.add(text(tag));
                case NODE_NAME -> name = once(name, text(tag), "name of a node");
                case NODE_OP_TYPE -> opType = once(opType, text(tag), "op_type of a node");
                default -> skip(tag);
            }
            if (inputs.size() > MAX_COUNT || outputs.size() > MAX_COUNT) {
                throw malformed("a node has more than " + MAX_COUNT + " inputs or outputs");
            }
        }
    }

    private final class TensorFields implements ReadsField {
        private @Nullable String name;
        private @Nullable Integer dataType;
        private final List<Long> dims = new ArrayList<>();
        private @Nullable ByteString raw;
        private @Nullable ByteArrayOutputStream floats;

        @Override
        public void read(int tag) throws IOException {
            switch (WireFormat.getTagFieldNumber(tag)) {
                case TENSOR_NAME -> name = once(name, text(tag), "name of an initialiser");
                case TENSOR_DATA_TYPE -> {
                    expect(tag, WireFormat.WIRETYPE_VARINT);
                    dataType = once(dataType, in.readInt32(), "data_type of an initialiser");
                }
                case TENSOR_DIMS -> readDims(tag);
                case TENSOR_RAW_DATA -> {
                    expect(tag, WireFormat.WIRETYPE_LENGTH_DELIMITED);
                    raw = once(raw, in.readBytes(), "raw_data of an initialiser");
                }
                case TENSOR_FLOAT_DATA -> readFloats(tag);
                default -> skip(tag);
            }
        }

        private void readDims(int tag) throws IOException {
            if (WireFormat.getTagWireType(tag) == WireFormat.WIRETYPE_VARINT) {
                addDim();
                return;
            }
            expect(tag, WireFormat.WIRETYPE_LENGTH_DELIMITED); // packed
            int outer = in.pushLimit(in.readRawVarint32());
            while (!in.isAtEnd()) {
                addDim();
            }
            in.popLimit(outer);
        }

        private void addDim() throws IOException {
            long dim = in.readInt64();
            if (dim < 0 || dims.size() == MAX_RANK) {
                throw malformed("an initialiser has at most " + MAX_RANK + " dimensions, none negative, got " + dims
                        + " and " + dim);
            }
            dims.add(dim);
        }

        /** Packed or one by one; the bytes are little endian as they stand in the file. */
        private void readFloats(int tag) throws IOException {
            ByteArrayOutputStream bytes = floats == null ? new ByteArrayOutputStream() : floats;
            floats = bytes;
            if (WireFormat.getTagWireType(tag) == WireFormat.WIRETYPE_FIXED32) {
                bytes.writeBytes(ByteBuffer.allocate(Float.BYTES)
                        .order(ByteOrder.LITTLE_ENDIAN)
                        .putInt(in.readFixed32())
                        .array());
                return;
            }
            expect(tag, WireFormat.WIRETYPE_LENGTH_DELIMITED);
            in.readBytes().writeTo(bytes);
        }
    }

    private void message(int tag, ReadsField fields) throws IOException {
        expect(tag, WireFormat.WIRETYPE_LENGTH_DELIMITED);
        int outer = in.pushLimit(in.readRawVarint32());
        for (int inner = in.readTag(); inner != 0; inner = in.readTag()) {
            fields.read(inner);
        }
        if (in.getBytesUntilLimit() != 0) {
            throw malformed("the file ends inside a message");
        }
        in.popLimit(outer);
    }

    private String text(int tag) throws IOException {
        expect(tag, WireFormat.WIRETYPE_LENGTH_DELIMITED);
        return in.readStringRequireUtf8();
    }

    private <T> T once(@Nullable T former, T value, String what) throws MalformedFileException {
        if (former != null) {
            throw malformed(what + " is there twice");
        }
        return value;
    }

    private void skip(int tag) throws IOException {
        if (!in.skipField(tag)) {
            throw malformed("a group ends that never began");
        }
    }

    private void expect(int tag, int wireType) throws MalformedFileException {
        if (WireFormat.getTagWireType(tag) != wireType) {
            throw malformed("field " + WireFormat.getTagFieldNumber(tag) + " must have wire type " + wireType + ", got "
                    + WireFormat.getTagWireType(tag));
        }
    }

    private MalformedFileException malformed(String reason) {
        return new MalformedFileException(path, offset(), reason);
    }
}
