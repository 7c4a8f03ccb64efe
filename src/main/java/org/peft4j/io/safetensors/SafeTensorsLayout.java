package org.peft4j.io.safetensors;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Bytes;

/**
 * How the tensors of a safetensors file have to lie after its header: the first begins at 0, they follow each other
 * without hole or overlap, each is as long as its shape and type say, and the last ends where the file ends. So no byte
 * of a file is unaccounted for, and none belongs to two tensors.
 */
final class SafeTensorsLayout {
    private SafeTensorsLayout() {}

    /**
     * A tensor as the header has it.
     *
     * @param begin first byte, counted from the end of the header
     * @param end   the byte after the last
     * @param at    where in the file the entry stands, for messages
     */
    record Entry(String name, ElementType dtype, List<Long> shape, long begin, long end, long at) {}

    /**
     * Checks the entries and gives the tensors in the order of their bytes.
     *
     * @param path      for messages
     * @param dataStart where the header ends
     */
    static Map<String, TensorInfo> place(Path path, List<Entry> entries, long dataStart, long fileSize)
            throws MalformedFileException {
        List<Entry> ordered = new ArrayList<>(entries);
        ordered.sort(Comparator.comparingLong(Entry::begin).thenComparingLong(Entry::end));
        Map<String, TensorInfo> tensors = new LinkedHashMap<>();
        long end = 0;
        for (Entry entry : ordered) {
            if (entry.begin() != end) {
                throw new MalformedFileException(
                        path,
                        entry.at(),
                        "tensor '" + entry.name() + "' must begin at " + end
                                + ", where the tensors before it end, but begins at " + entry.begin()
                                + (entry.begin() > end ? " (a hole)" : " (an overlap)"));
            }
            long length = length(path, entry);
            tensors.put(
                    entry.name(), new TensorInfo(entry.name(), entry.dtype(), entry.shape(), dataStart + end, length));
            end += length;
            if (end > fileSize - dataStart) {
                break;
            }
        }
        if (end != fileSize - dataStart) {
            throw new MalformedFileException(
                    path,
                    dataStart,
                    "tensors must fill the file: they end after " + Bytes.counted(end)
                            + " bytes of data, but " + Bytes.counted(fileSize - dataStart) + " follow the header"
                            + (end > fileSize - dataStart ? "; the file is cut off" : ""));
        }
        return tensors;
    }

    private static long length(Path path, Entry entry) throws MalformedFileException {
        String what = "tensor '" + entry.name() + "' is " + entry.dtype() + " " + entry.shape();
        long length;
        try {
            length = Shapes.bytes(entry.dtype(), entry.shape());
        } catch (ArithmeticException e) {
            throw new MalformedFileException(path, entry.at(), what + ", more bytes than a long can count", e);
        }
        if (length != entry.end() - entry.begin()) {
            throw new MalformedFileException(
                    path,
                    entry.at(),
                    what + ", " + length + " bytes, but its data_offsets are [" + entry.begin() + ", " + entry.end()
                            + "]");
        }
        return length;
    }
}
