package org.peft4j.method.spi.vblora;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.method.spi.PeftConfigReader;
import org.peft4j.method.spi.PeftTensors;

/**
 * The smaller form of VB-LoRA's files ({@code save_only_topk_weights}): in place of a piece's logits the numbers of its k vectors
 * and the first k - 1 weights. Logits that choose and weight the same are made of them: a weight's logarithm, and for all other
 * vectors one so low that they are never chosen.
 */
final class ChosenLogits {
    private static final String INDICES = "_topk_indices";
    private static final String WEIGHTS = "_topk_weights";
    private static final float NOTHING = -1e4f; // exp gives 0, and it is chosen before the others
    private static final float OTHERS = -1e30f;

    private ChosenLogits() {}

    /** Whether a file has this form. */
    static boolean in(Map<String, TensorData> tensors) {
        return tensors.keySet().stream().anyMatch(name -> name.endsWith(INDICES));
    }

    /** Puts logits in the place of such tensors. */
    static void expand(AdapterFile file, Map<String, TensorData> byPath) throws MalformedFileException {
        for (Map.Entry<String, TensorData> entry : Map.copyOf(byPath).entrySet()) {
            String path = entry.getKey();
            if (path.endsWith(INDICES)) {
                String logits = path.substring(0, path.length() - INDICES.length());
                TensorData indices = entry.getValue();
                byPath.remove(path);
                TensorData weights = byPath.remove(logits + WEIGHTS);
                if (weights == null) {
                    throw PeftTensors.malformed(file, "adapter has " + indices.name() + " without " + logits + WEIGHTS);
                }
                byPath.put(logits, logits(file, indices, weights));
            }
        }
    }

    private static TensorData logits(AdapterFile file, TensorData indices, TensorData weights)
            throws MalformedFileException {
        int vectors = new PeftConfigReader(file).count("num_vectors", 256);
        List<Long> shape = indices.shape();
        long k = shape.isEmpty() ? 0 : shape.get(shape.size() - 1);
        if (shape.size() != 3 || k < 1 || !PeftTensors.isWhole(indices)) {
            throw PeftTensors.malformed(
                    file,
                    "tensor " + indices.name() + " must hold whole numbers in three dimensions, is " + indices.dtype()
                            + " " + shape);
        }
        List<Long> expected = List.of(shape.get(0), shape.get(1), k - 1);
        if (!weights.shape().equals(expected) || !weights.dtype().isFloat()) {
            throw PeftTensors.malformed(
                    file,
                    "tensor " + weights.name() + " must hold floating-point numbers of shape " + expected + ", is "
                            + weights.dtype() + " " + weights.shape());
        }
        long[] chosen = PeftTensors.wholeNumbers(indices);
        float[] given = weights.toFloats();
        int pieces = (int) (chosen.length / k);
        float[] logits = new float[Math.multiplyExact(pieces, vectors)];
        Arrays.fill(logits, OTHERS);
        for (int piece = 0; piece < pieces; piece++) {
            float rest = 1;
            for (int i = 0; i < k; i++) {
                long vector = chosen[(int) (piece * k) + i];
                if (vector < 0 || vector >= vectors) {
                    throw PeftTensors.malformed(
                            file,
                            "tensor " + indices.name() + " must have numbers of the " + vectors
                                    + " vectors, from 0, has " + vector);
                }
                float weight = i < k - 1 ? given[(int) (piece * (k - 1)) + i] : rest;
                rest -= weight;
                if (!(weight <= 1.0001f && weight >= -0.0001f)) { // the last one may be a little less than 0
                    throw PeftTensors.malformed(
                            file, "tensor " + weights.name() + " must hold weights from 0 to 1, has " + weight);
                }
                logits[piece * vectors + (int) vector] =
                        weight > 0 ? (float) Math.max(NOTHING, Math.log(weight)) : NOTHING;
            }
        }
        return TensorData.ofFloats(
                indices.name().replace(INDICES, ""), List.of(shape.get(0), shape.get(1), (long) vectors), logits);
    }
}
