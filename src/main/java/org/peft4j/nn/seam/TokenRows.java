package org.peft4j.nn.seam;

import java.util.HashSet;
import java.util.List;

/**
 * Claim of an {@link EmbeddingPoint}: rows in place of some of the table's.
 *
 * @param indexes numbers of the rows that are replaced, each once
 * @param rows [indexes, C], row i in place of row indexes[i]
 */
public record TokenRows(List<Long> indexes, Parameter rows) implements EmbeddingClaim {
    public TokenRows {
        indexes = List.copyOf(indexes);
        if (new HashSet<>(indexes).size() < indexes.size()) {
            throw new IllegalArgumentException("indexes must be there once, got " + indexes);
        }
    }
}
