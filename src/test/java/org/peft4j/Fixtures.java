package org.peft4j;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.peft4j.io.ModelDirectory;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.nn.seam.Packing;

/** What build-scripts/fixtures/make_fixtures.py made with Hugging Face's libraries. */
public final class Fixtures {
    public static final Path ROOT = Path.of("src/test/resources/fixtures");
    public static final Path TINY_BERT = ROOT.resolve("tiny-bert");
    public static final Path TINY_LLAMA = ROOT.resolve("tiny-llama");
    public static final Path ADAPTERS = ROOT.resolve("adapters");

    private Fixtures() {}

    /** Sentences as token numbers, packed. */
    public record Sentences(int[] tokens, int[] lengths) {
        public Packing packing() {
            return Packing.of(lengths);
        }

        /** One sentence alone. */
        public Sentences only(int sentence) {
            int begin = 0;
            for (int s = 0; s < sentence; s++) {
                begin += lengths[s];
            }
            int[] own = java.util.Arrays.copyOfRange(tokens, begin, begin + lengths[sentence]);
            return new Sentences(own, new int[] {own.length});
        }
    }

    /** Makes a directory with the tiny Llama and its tokenizer, to be changed by a test. */
    public static Path copyTinyLlama(Path to) throws IOException {
        Files.createDirectory(to);
        for (String name : List.of("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")) {
            Files.copy(TINY_LLAMA.resolve(name), to.resolve(name));
        }
        return to;
    }

    public static ModelDirectory tinyBert() {
        try {
            return ModelDirectory.open(TINY_BERT);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    public static Map<String, TensorData> read(Path file) {
        try {
            return SafeTensors.read(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** {@code input_ids} and {@code cu_seqlens} of a file. */
    public static Sentences sentences(Map<String, TensorData> tensors) {
        int[] tokens = ints(tensors.get("input_ids"));
        int[] offsets = ints(tensors.get("cu_seqlens"));
        int[] lengths = new int[offsets.length - 1];
        for (int s = 0; s < lengths.length; s++) {
            lengths[s] = offsets[s + 1] - offsets[s];
        }
        return new Sentences(tokens, lengths);
    }

    public static Sentences tinySentences() {
        return sentences(read(TINY_BERT.resolve("expected.safetensors")));
    }

    public static int[] ints(TensorData data) {
        ByteBuffer bytes = data.bytes();
        int[] values = new int[bytes.remaining() / Long.BYTES];
        for (int i = 0; i < values.length; i++) {
            values[i] = Math.toIntExact(bytes.getLong());
        }
        return values;
    }

    public static double maxDifference(float[] a, float[] b) {
        if (a.length != b.length) {
            throw new AssertionError(a.length + " values against " + b.length);
        }
        double most = 0;
        for (int i = 0; i < a.length; i++) {
            double d = Math.abs((double) a[i] - b[i]);
            most = d > most || Double.isNaN(d) ? d : most;
            if (Double.isNaN(d)) {
                return Double.NaN;
            }
        }
        return most;
    }
}
