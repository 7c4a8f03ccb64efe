package org.peft4j.model.llama;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.model.FrozenTensors;
import org.peft4j.nn.Block;
import org.peft4j.nn.CausalAttention;
import org.peft4j.nn.Linear;
import org.peft4j.nn.LinearGroup;
import org.peft4j.nn.RmsNorm;
import org.peft4j.nn.Rotary;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.ops.Ops;

/**
 * One layer of a Llama, norms before the sublayers:
 * <pre>
 * a = attention(norm(h)) Woᵀ + h
 * h' = (act(norm(a) Wgᵀ) ∘ norm(a) Wuᵀ) Wdᵀ + a
 * </pre>
 * Queries, output and MLP are computed for the rows that are read behind it alone; keys and values always for all rows.
 */
final class LlamaBlock implements Block, AutoCloseable {
    private final Ops.Activation activation;
    private final long headSize;
    private final RmsNorm inputNorm;
    private final LinearGroup queryKeyValue;
    private final LinearGroup query;
    private final LinearGroup keyValue;
    private final CausalAttention attention;
    private final LinearGroup attentionOutput;
    private final RmsNorm mlpNorm;
    private final LinearGroup gateUp;
    private final LinearGroup down;

    LlamaBlock(LlamaConfig config, int layer, Rotary rotary, FrozenTensors tensors) throws IOException {
        String path = LlamaModel.PREFIX + "layers." + layer + ".";
        String self = path + "self_attn";
        activation = config.mlp().activation();
        headSize = config.stack().headSize();
        long c = config.stack().hiddenSize();
        long queries = config.stack().queryHeads() * headSize;
        long keys = config.stack().keyValueHeads() * headSize;
        boolean bias = config.attention().bias();
        inputNorm = norm(tensors, path + "input_layernorm", config);
        Linear q = linear(tensors, self + ".q_proj", queries, c, bias);
        Linear k = linear(tensors, self + ".k_proj", keys, c, bias);
        Linear v = linear(tensors, self + ".v_proj", keys, c, bias);
        queryKeyValue = LinearGroup.of(q, k, v);
        query = LinearGroup.of(q);
        keyValue = LinearGroup.of(k, v);
        attention = new CausalAttention(
                new KeyValuePoint(self, layer, config.stack().keyValueHeads(), headSize),
                rotary,
                1 / Math.sqrt(headSize),
                config.attention().dropout());
        attentionOutput = LinearGroup.of(linear(tensors, self + ".o_proj", c, queries, bias));
        mlpNorm = norm(tensors, path + "post_attention_layernorm", config);
        long inner = config.mlp().size();
        boolean mlpBias = config.mlp().bias();
        gateUp = LinearGroup.of(
                linear(tensors, path + "mlp.gate_proj", inner, c, mlpBias),
                linear(tensors, path + "mlp.up_proj", inner, c, mlpBias));
        down = LinearGroup.of(linear(tensors, path + "mlp.down_proj", c, inner, mlpBias));
    }

    private static Linear linear(FrozenTensors tensors, String path, long out, long in, boolean bias)
            throws IOException {
        return new Linear(
                path, tensors.matrix(path + ".weight", out, in), bias ? tensors.vector(path + ".bias", out) : null);
    }

    static RmsNorm norm(FrozenTensors tensors, String path, LlamaConfig config) throws IOException {
        return new RmsNorm(path, tensors.vector(path + ".weight", config.stack().hiddenSize()), config.rmsNormEps());
    }

    List<LinearPoint> linearPoints() {
        List<LinearPoint> points = new ArrayList<>(queryKeyValue.points(false));
        points.addAll(attentionOutput.points(false));
        points.addAll(gateUp.points(false));
        points.addAll(down.points(false));
        return points;
    }

    KeyValuePoint keyValuePoint() {
        return attention.point();
    }

    @Override
    public Tensor forward(Tensor h, ReadRows rows, ForwardContext context) {
        if (!rows.toTheEnd(context)) { // attention aligns queries with the last keys
            return Scopes.scoped(() -> rows.select(forward(h, ReadRows.ALL, context), context));
        }
        return Scopes.scoped(() -> {
            Packing read = rows.packing(context);
            Tensor kept = rows.select(h, context);
            Ops.Normed normed = mlpNorm.forward(attend(h, rows, read, context), kept, read, context);
            Tensor[] parts = gateUp.forward(normed.y(), read, context);
            Tensor inner = Ops.gatedMlp(parts[0], parts[1], activation);
            return normed.z().add(down.forwardOne(inner, read, context));
        });
    }

    private Tensor attend(Tensor h, ReadRows rows, Packing read, ForwardContext context) {
        return Scopes.scoped(() -> {
            Packing all = context.packing();
            Tensor x = inputNorm.forward(h, null, all, context).y();
            Tensor[] qkv;
            if (read == all) {
                qkv = queryKeyValue.forward(x, all, context);
            } else {
                Tensor[] kv = keyValue.forward(x, all, context);
                Tensor q = query.forwardOne(rows.select(x, context), read, context);
                qkv = new Tensor[] {q, kv[0], kv[1]};
            }
            Tensor o = attention.forward(heads(qkv[0]), heads(qkv[1]), heads(qkv[2]), rows, context);
            return attentionOutput.forwardOne(o.flatten(1, 2), read, context);
        });
    }

    private Tensor heads(Tensor rows) {
        return rows.view(rows.size(0), rows.size(1) / headSize, headSize);
    }

    @Override
    public void close() {
        for (LinearGroup group : List.of(queryKeyValue, query, keyValue, attentionOutput, gateUp, down)) {
            group.close();
        }
    }
}
