package org.peft4j.model.bert;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.model.FrozenTensors;
import org.peft4j.nn.Embedding;
import org.peft4j.nn.LayerNorm;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Rows;
import org.peft4j.ops.Ops;

/** BERT's embeddings and blocks, without pooler and heads. */
final class BertBackbone implements AutoCloseable {
    private static final String EMBEDDINGS = "bert.embeddings";

    private final BertConfig config;
    private final ScalarType type;
    private final Embedding words;
    private final Embedding positions;
    private final Embedding tokenTypes;
    private final LayerNorm norm;
    private final List<BertBlock> blocks = new ArrayList<>();

    BertBackbone(BertConfig config, FrozenTensors tensors, ScalarType type) throws IOException {
        this.config = config;
        this.type = type;
        int h = config.hiddenSize();
        words = embedding(tensors, "word_embeddings", config.vocabSize(), h);
        positions = embedding(tensors, "position_embeddings", config.maxPositionEmbeddings(), h);
        tokenTypes = embedding(tensors, "token_type_embeddings", config.typeVocabSize(), h);
        norm = BertBlock.norm(tensors, EMBEDDINGS + ".LayerNorm", config);
        for (int layer = 0; layer < config.numHiddenLayers(); layer++) {
            blocks.add(new BertBlock(config, layer, tensors));
        }
    }

    private static Embedding embedding(FrozenTensors tensors, String name, long rows, long columns) throws IOException {
        String path = EMBEDDINGS + "." + name;
        return new Embedding(path, tensors.matrix(path + ".weight", rows, columns));
    }

    List<LinearPoint> linearPoints() {
        return blocks.stream().flatMap(block -> block.linearPoints().stream()).toList();
    }

    List<KeyValuePoint> keyValuePoints() {
        return blocks.stream().map(BertBlock::keyValuePoint).toList();
    }

    /** Behind the last block: [T, C], or [sequences, C] for {@link Rows#FIRST}. */
    Tensor forward(int[] tokens, Rows rows, ForwardContext context) {
        check(tokens, context);
        return Scopes.scoped(() -> {
            Tensor h = embed(tokens, context);
            for (int layer = 0; layer < blocks.size(); layer++) {
                Tensor next = blocks.get(layer).forward(h, layer + 1 < blocks.size() ? Rows.ALL : rows, context);
                h.close();
                h = next;
            }
            return h;
        });
    }

    private Tensor embed(int[] tokens, ForwardContext context) {
        return Scopes.scoped(() -> {
            Packing rows = context.packing();
            long[] ids = new long[tokens.length];
            for (int i = 0; i < ids.length; i++) {
                ids[i] = tokens[i];
            }
            Tensor sum = words.forward(Tensors.ofLongs(ids, ids.length), type, rows, context);
            sum = sum.add(positions.forward(Tensors.ofLongs(context.positions(), ids.length), type, rows, context));
            sum = sum.add(tokenTypes.forward(Tensors.ofLongs(new long[ids.length], ids.length), type, rows, context));
            Tensor normed = norm.forward(sum, null, rows, context, 0);
            return Ops.dropout(normed, context.training() ? config.hiddenDropoutProb() : 0, context.seed(EMBEDDINGS));
        });
    }

    private void check(int[] tokens, ForwardContext context) {
        Packing packing = context.packing();
        if (packing.rows() != tokens.length) {
            throw new IllegalArgumentException(
                    "the packing has " + packing.rows() + " rows, but there are " + tokens.length + " tokens");
        }
        for (int token : tokens) {
            if (token < 0 || token >= config.vocabSize()) {
                throw new IllegalArgumentException("token " + token + " is not in the model's vocabulary of "
                        + config.vocabSize() + "; does tokenizer.json belong to this model?");
            }
        }
        for (ForwardContext.Segment segment : context.segments()) {
            int room = config.maxPositionEmbeddings() - ForwardContext.before(segment);
            for (int s = segment.first(); s < segment.last(); s++) {
                if (packing.length(s) == 0 || packing.length(s) > room) {
                    throw new IllegalArgumentException("sequence " + s + " must have 1 to " + room
                            + " tokens (max_position_embeddings less what its adapters take), has "
                            + packing.length(s));
                }
            }
        }
    }

    @Override
    public void close() {
        blocks.forEach(BertBlock::close);
    }
}
