package org.peft4j.method.spi;

import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.EmbeddingPoint;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.TokenRows;

/** Rows of some tokens that are trained in place of an embedding table's. */
public final class TokenTables {
    /** Name of the rows, behind the table's path. */
    public static final String ROWS = ".trainable_tokens_delta";

    /** Group of the rows. */
    public static final String GROUP = "trainable_tokens";

    private TokenTables() {}

    /**
     * Refuses a table whose rows cannot be replaced.
     *
     * @param setting the setting that names the tokens
     * @throws IllegalArgumentException if the output layer reads the table, too, or it has fewer rows
     */
    public static void check(String setting, EmbeddingPoint table, List<Integer> tokens) {
        if (table.tied()) {
            throw new IllegalArgumentException("targets must not have " + table.path()
                    + ": the output layer reads the same table, and its rows cannot be trained with it yet");
        }
        for (int token : tokens) {
            if (token >= table.rows()) {
                throw new IllegalArgumentException(setting + " must be below " + table.rows() + ", the rows of "
                        + table.path() + ", got " + token);
            }
        }
    }

    /** Trains the rows of these tokens, which begin with the table's, under a path. */
    public static void claim(
            Adapter.Builder builder, EmbeddingPoint table, List<Integer> tokens, String path, Points points) {
        Tensor frozen = points.tensors().get(table.path() + ".weight").value();
        int[] indexes = tokens.stream().mapToInt(Integer::intValue).toArray();
        Parameter rows = Parameter.of(
                path,
                GROUP,
                () -> frozen.index_select(0, Tensors.ofInts(points.device(), indexes))
                        .to(ScalarType.Float));
        builder.parameter(rows);
        builder.claim(
                table, new TokenRows(tokens.stream().map(Integer::longValue).toList(), rows));
    }

    /** Puts the table with the rows in it among the changed tensors. */
    public static void merge(EmbeddingPoint table, TokenRows rows, Points points, Map<String, Tensor> changed) {
        long[] indexes = rows.indexes().stream().mapToLong(Long::longValue).toArray();
        String path = table.path() + ".weight";
        changed.put(
                path,
                Merging.changed(
                        path,
                        points,
                        value -> value.index_copy(
                                0,
                                Tensors.ofLongs(points.device(), indexes, indexes.length),
                                rows.rows().value().detach())));
    }
}
