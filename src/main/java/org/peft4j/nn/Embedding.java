package org.peft4j.nn;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;

/**
 * Rows of a table by index, frozen or replaced by adapters.
 *
 * @param path such as {@code bert.embeddings.word_embeddings}
 * @param table [V, C]
 */
public record Embedding(String path, Tensor table) {
    /** @param indexes int64 [T]; the result has the given type */
    public Tensor forward(Tensor indexes, ScalarType type, Packing rows, ForwardContext context) {
        String weight = path + ".weight";
        return Scopes.scoped(() -> context.bySegment(
                indexes,
                rows,
                segment -> ForwardContext.replacement(segment, weight),
                (segment, part, firstRow) -> torch.embedding(
                                ForwardContext.replacement(segment, weight)
                                        .map(Parameter::value)
                                        .orElse(table),
                                part)
                        .to(type)));
    }
}
