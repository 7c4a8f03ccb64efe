package org.peft4j.model.decoder;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.Block;
import org.peft4j.nn.Norm;
import org.peft4j.nn.PromptRows;
import org.peft4j.nn.Rotary;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.SublayerSum;
import org.peft4j.nn.seam.BlockPoint;
import org.peft4j.nn.seam.ExpertsPoint;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.SublayerPoint;
import org.peft4j.ops.Ops;

/**
 * One layer of a decoder. With norms before the sublayers (n), behind them (m), or both:
 * <pre>
 * a = h + s m1(attention(n1(h)))
 * h' = a + s m2(mlp(n2(a)))
 * </pre>
 * or, in parallel, {@code h' = h + s attention(n1(h)) + s mlp(n2(h))}. Queries, output and MLP are computed for the rows that are read
 * behind it alone; keys and values always for all rows.
 */
final class DecoderBlock implements Block, AutoCloseable {
    private final BlockPoint point;
    private final boolean parallel;
    private final @Nullable Norm attentionNorm;
    private final DecoderAttention attention;
    private final SublayerSum attentionSum;
    private final @Nullable Norm mlpNorm;
    private final DecoderMlp mlp;
    private final SublayerSum mlpSum;

    DecoderBlock(int layer, @Nullable Rotary rotary, DecoderTensors tensors) throws IOException {
        DecoderConfig config = tensors.config();
        String path = tensors.names().block(layer);
        point = new BlockPoint(
                path.substring(0, path.length() - 1), layer, config.stack().hiddenSize());
        DecoderNames.Norms norms = tensors.names().block().norms();
        parallel = config.residual().parallel();
        attentionNorm = tensors.norm(path, norms.beforeAttention());
        attention = new DecoderAttention(layer, rotary, tensors);
        attentionSum = sum(
                attention.outputPath(),
                layer,
                SublayerPoint.Kind.ATTENTION,
                tensors.norm(path, norms.behindAttention()),
                config);
        mlpNorm = tensors.norm(path, norms.beforeMlp());
        DecoderConfig.Mlp own = config.layers().get(layer).mlp();
        mlp = own.experts() == null
                ? new DenseMlp(path + tensors.names().block().mlp().module(), own, tensors)
                : new SparseMlp(path, own, own.experts(), tensors);
        mlpSum = sum(mlp.outputPath(), layer, SublayerPoint.Kind.MLP, tensors.norm(path, norms.behindMlp()), config);
    }

    private static SublayerSum sum(
            String path, int layer, SublayerPoint.Kind kind, @Nullable Norm norm, DecoderConfig config) {
        return new SublayerSum(
                new SublayerPoint(path, layer, kind, config.stack().hiddenSize(), false),
                norm,
                config.residual().scale(),
                config.residual().dropout());
    }

    List<LinearPoint> linearPoints() {
        List<LinearPoint> points = new ArrayList<>(attention.linearPoints());
        points.addAll(mlp.linearPoints());
        return points;
    }

    KeyValuePoint keyValuePoint() {
        return attention.keyValuePoint();
    }

    List<ExpertsPoint> expertsPoints() {
        return mlp.expertsPoints();
    }

    List<SublayerPoint> sublayerPoints() {
        return List.of(attentionSum.point(), mlpSum.point());
    }

    @Override
    public BlockPoint point() {
        return point;
    }

    @Override
    public Tensor forward(Tensor h, ReadRows rows, ForwardContext context) {
        Tensor prompted = PromptRows.throughTheBlock(keyValuePoint(), h, rows, context, this::forward);
        if (prompted != null) {
            return prompted;
        }
        if (!rows.toTheEnd(context)) { // attention aligns queries with the last keys
            return Scopes.scoped(() -> rows.select(forward(h, ReadRows.ALL, context), context));
        }
        return Scopes.scoped(() -> {
            Packing read = rows.packing(context);
            Tensor kept = rows.select(h, context);
            Tensor attended = attend(h, kept, rows, read, context);
            if (parallel) {
                Tensor y = normed(mlpNorm, kept, read, context);
                Tensor own = mlpSum.forward(() -> y, mlp.forward(y, read, context), kept, read, context);
                return kept.add(attended).add(own);
            }
            Ops.Normed a = mlpNorm == null ? plainSum(attended, kept) : mlpNorm.forward(attended, kept, read, context);
            return a.z().add(mlpSum.forward(a::y, mlp.forward(a.y(), read, context), a.z(), read, context));
        });
    }

    private static Ops.Normed plainSum(Tensor x, Tensor residual) {
        Tensor z = x.add(residual);
        return new Ops.Normed(z, z);
    }

    private Tensor attend(Tensor h, Tensor kept, ReadRows rows, Packing read, ForwardContext context) {
        return Scopes.scoped(() -> {
            Tensor x = normed(attentionNorm, h, context.packing(), context);
            PromptRows prompts = PromptRows.hidden(keyValuePoint(), h, context);
            DecoderAttention.Attended attended = attention.forward(
                    x,
                    prompts == null
                            ? null
                            : prompts.with(normed(attentionNorm, prompts.rows(), prompts.packing(), context)),
                    rows,
                    context);
            Tensor sum = attentionSum.forward(() -> rows.select(x, context), attended.output(), kept, read, context);
            Tensor behind = attended.behind();
            return behind == null ? sum.alias() : sum.add(behind);
        });
    }

    private static Tensor normed(@Nullable Norm norm, Tensor x, Packing rows, ForwardContext context) {
        return norm == null ? x : norm.forward(x, null, rows, context).y();
    }

    @Override
    public void close() {
        attention.close();
        mlp.close();
    }
}
