package org.peft4j.model.bert;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.EmbeddingModel;
import org.peft4j.model.FrozenTensors;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.Rows;

/** {@code BertModel} with mean pooling, as sentence-transformers does it. */
final class BertEmbedder implements EmbeddingModel {
    private final BertConfig config;
    private final FrozenTensors tensors;
    private final BertBackbone backbone;

    BertEmbedder(ModelDirectory directory, ModelOptions options) throws IOException {
        BertConfig read = BertConfig.read(directory);
        config = options.dropout() ? read.withDropout() : read.withoutDropout();
        tensors = new FrozenTensors(directory, "bert.", options, Map.of());
        backbone = new BertBackbone(config, tensors, options.compute());
    }

    @Override
    public Points points() {
        return new Points(
                "bert",
                "BertModel",
                config.hiddenSize(),
                config.numHiddenLayers(),
                config.numAttentionHeads(),
                backbone.linearPoints(),
                backbone.keyValuePoints(),
                tensors.points(),
                tensors.fresh());
    }

    @Override
    public int maxPositions() {
        return config.maxPositionEmbeddings();
    }

    @Override
    public List<String> notes() {
        return config.notes();
    }

    @Override
    public Tensor hidden(int[] tokens, ForwardContext context) {
        return backbone.forward(tokens, Rows.ALL, context);
    }

    @Override
    public Tensor embed(int[] tokens, ForwardContext context) {
        return Scopes.scoped(() -> {
            Packing packing = context.packing();
            Tensor h = hidden(tokens, context).to(ScalarType.Float);
            long[] sequenceOf = new long[tokens.length];
            float[] weights = new float[packing.sequences()];
            for (int s = 0; s < packing.sequences(); s++) {
                java.util.Arrays.fill(sequenceOf, (int) packing.begin(s), (int) packing.end(s), s);
                weights[s] = 1f / packing.length(s);
            }
            Tensor sums = torch.index_add(
                    Tensors.zeros(packing.sequences(), config.hiddenSize()),
                    0,
                    Tensors.ofLongs(sequenceOf, sequenceOf.length),
                    h);
            return sums.mul(Tensors.ofFloats(weights, packing.sequences(), 1));
        });
    }

    @Override
    public void close() {
        backbone.close();
        tensors.close();
    }
}
