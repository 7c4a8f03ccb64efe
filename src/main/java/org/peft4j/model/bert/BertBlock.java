package org.peft4j.model.bert;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.model.FrozenTensors;
import org.peft4j.nn.Block;
import org.peft4j.nn.LayerNorm;
import org.peft4j.nn.Linear;
import org.peft4j.nn.LinearGroup;
import org.peft4j.nn.Prefixes;
import org.peft4j.nn.PromptRows;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Sublayer;
import org.peft4j.nn.seam.BlockPoint;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.PrefixKeyValues;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.SublayerPoint;
import org.peft4j.ops.Ops;

/**
 * One layer of BERT, norms behind the sublayers:
 * <pre>
 * a = norm(dropout(attention(h) Woᵀ + bo) + h)
 * h' = norm(dropout(gelu(a W1ᵀ + b1) W2ᵀ + b2) + a)
 * </pre>
 * Queries, output and MLP are computed for the rows that are read behind it alone; keys and values always for all rows.
 * The results are the same.
 */
final class BertBlock implements Block, AutoCloseable {
    private final BertConfig config;
    private final BlockPoint point;
    private final String attention;
    private final LinearGroup queryKeyValue;
    private final LinearGroup query;
    private final LinearGroup keyValue;
    private final LinearGroup attentionOutput;
    private final Sublayer attentionEnd;
    private final LinearGroup intermediate;
    private final LinearGroup output;
    private final Sublayer outputEnd;
    private final KeyValuePoint keyValuePoint;

    BertBlock(BertConfig config, int layer, FrozenTensors tensors) throws IOException {
        this.config = config;
        String path = path(layer);
        point = new BlockPoint(
                path.substring(0, path.length() - 1), layer, config.sizes().hidden());
        attention = path + "attention.self";
        int h = config.sizes().hidden();
        Linear q = linear(tensors, attention + ".query", h, h);
        Linear k = linear(tensors, attention + ".key", h, h);
        Linear v = linear(tensors, attention + ".value", h, h);
        queryKeyValue = tensors.group(q, k, v);
        query = tensors.group(q);
        keyValue = tensors.group(k, v);
        attentionOutput = tensors.group(linear(tensors, path + "attention.output.dense", h, h));
        attentionEnd = end(tensors, path + "attention.output", layer, SublayerPoint.Kind.ATTENTION);
        intermediate = tensors.group(
                linear(tensors, path + "intermediate.dense", config.sizes().intermediate(), h));
        output = tensors.group(
                linear(tensors, path + "output.dense", h, config.sizes().intermediate()));
        outputEnd = end(tensors, path + "output", layer, SublayerPoint.Kind.MLP);
        keyValuePoint = new KeyValuePoint(
                attention, layer, config.sizes().heads(), config.sizes().head());
    }

    /** The beginning of a layer's paths. */
    static String path(int layer) {
        return "bert.encoder.layer." + layer + ".";
    }

    static Linear linear(FrozenTensors tensors, String path, long out, long in) throws IOException {
        return new Linear(path, tensors.matrix(path + ".weight", out, in), tensors.vector(path + ".bias", out));
    }

    private Sublayer end(FrozenTensors tensors, String path, int layer, SublayerPoint.Kind kind) throws IOException {
        return new Sublayer(
                new SublayerPoint(path, layer, kind, config.sizes().hidden(), true),
                norm(tensors, path + ".LayerNorm", config));
    }

    static LayerNorm norm(FrozenTensors tensors, String path, BertConfig config) throws IOException {
        return new LayerNorm(
                path,
                tensors.vector(path + ".weight", config.sizes().hidden()),
                tensors.vector(path + ".bias", config.sizes().hidden()),
                config.layerNormEps());
    }

    List<LinearPoint> linearPoints() {
        List<LinearPoint> points = new ArrayList<>(queryKeyValue.points(false));
        points.addAll(attentionOutput.points(false));
        points.addAll(intermediate.points(false));
        points.addAll(output.points(false));
        return points;
    }

    KeyValuePoint keyValuePoint() {
        return keyValuePoint;
    }

    List<SublayerPoint> sublayerPoints() {
        return List.of(attentionEnd.point(), outputEnd.point());
    }

    @Override
    public BlockPoint point() {
        return point;
    }

    @Override
    public Tensor forward(Tensor h, ReadRows rows, ForwardContext context) {
        Tensor prompted = PromptRows.throughTheBlock(keyValuePoint, h, rows, context, this::forward);
        if (prompted != null) {
            return prompted;
        }
        return Scopes.scoped(() -> {
            Packing read = rows.packing(context);
            Tensor kept = rows.select(h, context);
            double dropout = config.dropouts().hidden();
            Tensor attended = attend(h, kept, read, context);
            Tensor a = attentionEnd.forward(kept, attended, kept, read, context, dropout);
            Tensor up = Ops.gelu(intermediate.forwardOne(a, read, context));
            return outputEnd.forward(a, output.forwardOne(up, read, context), a, read, context, dropout);
        });
    }

    private Tensor attend(Tensor h, Tensor kept, Packing read, ForwardContext context) {
        return Scopes.scoped(() -> {
            Packing all = context.packing();
            Tensor q;
            Tensor k;
            Tensor v;
            if (read == all) {
                Tensor[] qkv = queryKeyValue.forward(h, all, context);
                q = heads(qkv[0]);
                k = heads(qkv[1]);
                v = heads(qkv[2]);
            } else {
                Tensor[] kv = keyValue.forward(h, all, context);
                q = heads(query.forwardOne(kept, read, context));
                k = heads(kv[0]);
                v = heads(kv[1]);
            }
            Prefixes prefixes = prefixes(h, context);
            Tensor o = context.bySegment(q, read, context.at(keyValuePoint)::of, (segment, part, firstRow) -> {
                boolean whole = segment.first() == 0 && segment.last() == all.sequences();
                Packing keys = whole ? all : all.slice(segment.first(), segment.last());
                Packing queries = whole ? read : read.slice(segment.first(), segment.last());
                long begin = all.begin(segment.first());
                Tensor ks = whole ? k : k.narrow(0, begin, keys.rows());
                Tensor vs = whole ? v : v.narrow(0, begin, keys.rows());
                PrefixKeyValues.KeyValues prefix = prefixes.of(segment, context);
                return attention(part, ks, vs, queries, keys, prefix, context, firstRow);
            });
            return attentionOutput.forwardOne(
                    o.reshape(o.size(0), config.sizes().hidden()), read, context);
        });
    }

    private Prefixes prefixes(Tensor h, ForwardContext context) {
        if (PromptRows.gated(keyValuePoint, h, context) != null) {
            throw new IllegalStateException("attention of BERT offers no gated prompt");
        }
        PromptRows prompts = PromptRows.hidden(keyValuePoint, h, context);
        if (prompts == null) {
            return new Prefixes(keyValuePoint, h, null);
        }
        Tensor[] kv = keyValue.forward(prompts.rows(), prompts.packing(), context);
        return new Prefixes(keyValuePoint, h, new PromptRows.KeyValues(heads(kv[0]), heads(kv[1]), prompts.packing()));
    }

    private Tensor attention(
            Tensor q,
            Tensor k,
            Tensor v,
            Packing queries,
            Packing keys,
            PrefixKeyValues.@Nullable KeyValues prefix,
            ForwardContext context,
            long firstRow) {
        Ops.AttentionSettings settings = new Ops.AttentionSettings(
                false,
                1 / Math.sqrt(config.sizes().head()),
                0,
                context.training()
                        ? new Ops.Dropout(config.dropouts().attention(), context.seed(attention + "#" + firstRow))
                        : Ops.Dropout.NONE);
        ScalarType type = q.scalar_type();
        return Ops.attention(
                q,
                k,
                v,
                queries.cuSeqlens(),
                keys.cuSeqlens(),
                queries.longest(),
                keys.longest(),
                prefix == null ? null : prefix.keys().to(type),
                prefix == null ? null : prefix.values().to(type),
                null,
                settings);
    }

    private Tensor heads(Tensor rows) {
        return rows.view(rows.size(0), config.sizes().heads(), config.sizes().head());
    }

    @Override
    public void close() {
        for (LinearGroup group : List.of(queryKeyValue, query, keyValue, attentionOutput, intermediate, output)) {
            group.close();
        }
    }
}
