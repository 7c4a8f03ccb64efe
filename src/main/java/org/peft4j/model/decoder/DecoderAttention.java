package org.peft4j.model.decoder;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.model.ModelInfo;
import org.peft4j.nn.CausalAttention;
import org.peft4j.nn.LinearGroup;
import org.peft4j.nn.PromptRows;
import org.peft4j.nn.RmsNorm;
import org.peft4j.nn.Rotary;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;

/**
 * Attention of a block: {@code o(attention(turn(norm(q x)), turn(norm(k x)), v x))}. Queries and output are computed for the rows
 * that are read behind the block alone, keys and values for all rows.
 */
final class DecoderAttention implements AutoCloseable {
    private final long headSize;
    private final Projections projections;
    private final @Nullable RmsNorm queryNorm;
    private final @Nullable RmsNorm keyNorm;
    private final CausalAttention attention;
    private final LinearGroup output;
    private final boolean outputFirst;

    /** Makes queries, keys and values, each [rows, heads, D]; queries of the read rows. */
    private interface Projections extends AutoCloseable {
        Tensor[] forward(Tensor x, ReadRows rows, ForwardContext context);

        /** Keys and values of rows that lie as the packing says. */
        Tensor[] keyValues(Tensor x, Packing packing, ForwardContext context);

        List<LinearPoint> points();

        @Override
        void close();
    }

    DecoderAttention(int layer, @Nullable Rotary rotary, DecoderTensors tensors) throws IOException {
        DecoderConfig.Attention config = tensors.config().layers().get(layer).attention();
        ModelInfo.Stack stack = tensors.config().stack();
        DecoderNames.Layers names = tensors.names().block().attention();
        String path = tensors.names().block(layer) + names.module();
        headSize = stack.headSize();
        long c = stack.hiddenSize();
        long queries = stack.queryHeads() * headSize;
        long keys = stack.keyValueHeads() * headSize;
        boolean bias = config.projections().bias();
        List<String> qkv = names.in();
        projections = qkv.size() == 1
                ? new Joined(
                        tensors.group(tensors.linear(path + "." + qkv.get(0), queries + 2 * keys, c, bias)),
                        stack,
                        config.projections().headwise())
                : new Apart(
                        tensors.group(
                                tensors.linear(path + "." + qkv.get(0), queries, c, bias),
                                tensors.linear(path + "." + qkv.get(1), keys, c, bias),
                                tensors.linear(path + "." + qkv.get(2), keys, c, bias)),
                        tensors,
                        headSize);
        DecoderConfig.QueryKeyNorm norm = config.projections().norm();
        boolean normed = norm != DecoderConfig.QueryKeyNorm.NONE;
        boolean whole = norm == DecoderConfig.QueryKeyNorm.ROW;
        queryNorm = normed ? tensors.rmsNorm(path + ".q_norm", whole ? queries : headSize) : null;
        keyNorm = normed ? tensors.rmsNorm(path + ".k_norm", whole ? keys : headSize) : null;
        attention = new CausalAttention(
                new KeyValuePoint(path, layer, stack.keyValueHeads(), headSize, config.window()),
                rotary,
                new CausalAttention.Scores(config.scale(), config.window(), config.softcap(), config.dropout()));
        outputFirst = qkv.size() == 1 && names.out().equals("o_proj"); // so transformers' Phi3Attention has its modules
        output = tensors.group(tensors.linear(
                path + "." + names.out(), c, queries, config.projections().outputBias()));
    }

    List<LinearPoint> linearPoints() {
        List<LinearPoint> points = new ArrayList<>(projections.points());
        points.addAll(outputFirst ? 0 : points.size(), output.points(false));
        return points;
    }

    KeyValuePoint keyValuePoint() {
        return attention.point();
    }

    /** Module that the sublayer ends in. */
    String outputPath() {
        return output.layers().get(0).path();
    }

    /**
     * What attention gives.
     *
     * @param output of the read rows, [R, C]
     * @param behind [R, C], what adapters add behind it as it is; null: nothing
     */
    record Attended(Tensor output, @Nullable Tensor behind) {}

    /**
     * @param x normed rows of all sequences, [T, C]
     * @param hidden rows of prompts, normed alike; null: there are none
     */
    Attended forward(Tensor x, @Nullable PromptRows hidden, ReadRows rows, ForwardContext context) {
        Tensor[] results = Scopes.scopedAll(() -> {
            Tensor[] qkv = projections.forward(x, rows, context);
            Tensor q = queryNorm == null ? qkv[0] : queryNorm.heads(qkv[0], rows.packing(context), context);
            Tensor k = keyNorm == null ? qkv[1] : keyNorm.heads(qkv[1], context.packing(), context);
            CausalAttention.Prompts prompts = new CausalAttention.Prompts(
                    x, keyValues(hidden, context), keyValues(PromptRows.gated(attention.point(), x, context), context));
            CausalAttention.Attended attended = attention.forward(q, k, qkv[2], prompts, rows, context);
            Tensor o = attended.o();
            Tensor y = output.forwardOne(o.flatten(1, 2), rows.packing(context), context);
            Tensor behind = attended.behindOutput();
            return behind == null ? new Tensor[] {y} : new Tensor[] {y, behind};
        });
        return new Attended(results[0], results.length == 1 ? null : results[1]);
    }

    private PromptRows.@Nullable KeyValues keyValues(@Nullable PromptRows prompts, ForwardContext context) {
        if (prompts == null) {
            return null;
        }
        Tensor[] kv = projections.keyValues(prompts.rows(), prompts.packing(), context);
        Tensor k = keyNorm == null ? kv[0] : keyNorm.heads(kv[0], prompts.packing(), context);
        return new PromptRows.KeyValues(k, kv[1], prompts.packing());
    }

    private static Tensor heads(Tensor rows, long headSize) {
        return rows.view(rows.size(0), rows.size(1) / headSize, headSize);
    }

    /** Three layers. */
    private static final class Apart implements Projections {
        private final LinearGroup all;
        private final LinearGroup query;
        private final LinearGroup keyValue;
        private final long headSize;

        Apart(LinearGroup all, DecoderTensors tensors, long headSize) {
            this.all = all;
            this.headSize = headSize;
            query = tensors.group(all.layers().get(0));
            keyValue = tensors.group(all.layers().get(1), all.layers().get(2));
        }

        @Override
        public Tensor[] forward(Tensor x, ReadRows rows, ForwardContext context) {
            Tensor[] made;
            if (rows.packing(context) == context.packing()) {
                made = all.forward(x, context.packing(), context);
            } else {
                Tensor[] kv = keyValue.forward(x, context.packing(), context);
                Tensor q = query.forwardOne(rows.select(x, context), rows.packing(context), context);
                made = new Tensor[] {q, kv[0], kv[1]};
            }
            return new Tensor[] {heads(made[0], headSize), heads(made[1], headSize), heads(made[2], headSize)};
        }

        @Override
        public Tensor[] keyValues(Tensor x, Packing packing, ForwardContext context) {
            Tensor[] kv = keyValue.forward(x, packing, context);
            return new Tensor[] {heads(kv[0], headSize), heads(kv[1], headSize)};
        }

        @Override
        public List<LinearPoint> points() {
            return all.points(false);
        }

        @Override
        public void close() {
            List.of(all, query, keyValue).forEach(LinearGroup::close);
        }
    }

    /** One layer: all queries, then all keys, then all values; or query, key and value of one head after the other. */
    private static final class Joined implements Projections {
        private final LinearGroup layer;
        private final ModelInfo.Stack stack;
        private final boolean headwise;

        Joined(LinearGroup layer, ModelInfo.Stack stack, boolean headwise) {
            this.layer = layer;
            this.stack = stack;
            this.headwise = headwise;
        }

        @Override
        public Tensor[] forward(Tensor x, ReadRows rows, ForwardContext context) {
            Tensor[] all = parts(x, context.packing(), context);
            return new Tensor[] {rows.select(all[0], context), all[1], all[2]};
        }

        @Override
        public Tensor[] keyValues(Tensor x, Packing packing, ForwardContext context) {
            Tensor[] all = parts(x, packing, context); // queries, too, which nobody reads: it is one product
            return new Tensor[] {all[1], all[2]};
        }

        private Tensor[] parts(Tensor x, Packing packing, ForwardContext context) {
            long d = stack.headSize();
            Tensor y = layer.forwardOne(x, packing, context);
            if (headwise) {
                Tensor heads = heads(y, 3 * d);
                return new Tensor[] {
                    heads.narrow(2, 0, d).contiguous(),
                    heads.narrow(2, d, d).contiguous(),
                    heads.narrow(2, 2 * d, d).contiguous()
                };
            }
            Tensor heads = heads(y, d);
            long queries = stack.queryHeads();
            long keys = stack.keyValueHeads();
            return new Tensor[] {
                heads.narrow(1, 0, queries), heads.narrow(1, queries, keys), heads.narrow(1, queries + keys, keys)
            };
        }

        @Override
        public List<LinearPoint> points() {
            return layer.points(false);
        }

        @Override
        public void close() {
            layer.close();
        }
    }

    @Override
    public void close() {
        projections.close();
        output.close();
    }
}
