package org.peft4j.nn;

import java.util.Comparator;
import java.util.List;
import java.util.stream.LongStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.seam.Claims;
import org.peft4j.nn.seam.EmbeddingClaim;
import org.peft4j.nn.seam.EmbeddingPoint;
import org.peft4j.nn.seam.EmbeddingUpdate;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.TensorPoint;
import org.peft4j.nn.seam.TokenRows;
import org.peft4j.ops.Device;

/** Rows of a table by index; the table is frozen or replaced by adapters, some of its rows are, or something is added. */
public final class Embedding {
    private final TensorPoint table;
    private final EmbeddingPoint point;

    /**
     * A table of something else than words: positions, token types.
     *
     * @param path such as {@code bert.embeddings.position_embeddings}
     * @param table [V, C]
     */
    public Embedding(String path, Tensor table) {
        this(table, new EmbeddingPoint(path, table.size(0), table.size(1), false, false));
    }

    public Embedding(Tensor table, EmbeddingPoint point) {
        this.table = new TensorPoint(point.path() + ".weight", table);
        this.point = point;
    }

    /** The table of the model's words. */
    public static Embedding ofWords(String path, Tensor table, boolean tied) {
        return new Embedding(table, new EmbeddingPoint(path, table.size(0), table.size(1), true, tied));
    }

    /** Where adapters may act. */
    public EmbeddingPoint point() {
        return point;
    }

    /**
     * @param indexes int64 [T]
     * @param rows how they belong to the context's sequences
     * @return [T, C] of the given type
     */
    public Tensor forward(Tensor indexes, ScalarType type, Packing rows, ForwardContext context) {
        Claims<Parameter> tables = context.at(table);
        Claims<EmbeddingClaim> claims = context.at(point);
        return Scopes.scoped(() -> context.bySegment(
                indexes,
                rows,
                segment -> List.of(tables.of(segment), claims.of(segment)),
                (segment, part, firstRow) -> {
                    Tensor y = torch.embedding(tables.one(segment, Parameter::value, table.value()), part)
                            .to(type);
                    for (EmbeddingClaim claim : claims.of(segment)) {
                        y = claim instanceof TokenRows own
                                ? replaced(y, part, own)
                                : y.add(((EmbeddingUpdate) claim).of(part).to(type));
                    }
                    return y;
                }));
    }

    /** y with the claim's rows where the index is one of its. */
    private static Tensor replaced(Tensor y, Tensor indexes, TokenRows claim) {
        int n = claim.indexes().size();
        long[] order = LongStream.range(0, n)
                .boxed()
                .sorted(Comparator.comparing(i -> claim.indexes().get(i.intValue())))
                .mapToLong(Long::longValue)
                .toArray();
        long[] ascending =
                LongStream.of(order).map(i -> claim.indexes().get((int) i)).toArray();
        Device device = Device.of(indexes);
        Tensor sorted = Tensors.ofLongs(device, ascending, n);
        Tensor place = torch.searchsorted(sorted, indexes).clamp_max(new Scalar(n - 1));
        Tensor hit = sorted.index_select(0, place).eq(indexes).unsqueeze(1);
        Tensor row = Tensors.ofLongs(device, order, n).index_select(0, place);
        return torch.where(hit, torch.embedding(claim.rows().value(), row).to(y.scalar_type()), y);
    }
}
