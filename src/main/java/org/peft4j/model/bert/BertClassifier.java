package org.peft4j.model.bert;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.ClassificationModel;
import org.peft4j.model.ClassifierHead;
import org.peft4j.model.FrozenTensors;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.Init;
import org.peft4j.nn.Linear;
import org.peft4j.nn.LinearGroup;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.Rows;
import org.peft4j.ops.Ops;

/**
 * {@code BertForSequenceClassification}: {@code classifier(dropout(tanh(pooler(h[CLS]))))}. Pooler and classifier are made
 * anew where the directory lacks them: normal with the config's initializer_range, biases 0, as transformers does.
 */
final class BertClassifier implements ClassificationModel {
    private static final String CLASSIFIER = "classifier";

    private final ModelDirectory directory;
    private final int labels;
    private final ModelOptions options;
    private final BertConfig config;
    private final FrozenTensors tensors;
    private final BertBackbone backbone;
    private final LinearGroup pooler;
    private final LinearGroup classifier;

    BertClassifier(ModelDirectory directory, int labels, ModelOptions options, Map<String, Tensor> changed)
            throws IOException {
        this.directory = directory;
        this.labels = labels;
        this.options = options;
        BertConfig read = BertConfig.read(directory);
        config = options.dropout() ? read.withDropout() : read.withoutDropout();
        tensors = new FrozenTensors(directory, "bert.", options, changed);
        ClassifierHead.check(directory, tensors.rows(CLASSIFIER + ".weight"), labels, options.newHead());
        backbone = new BertBackbone(config, tensors, options.compute());
        pooler = LinearGroup.of(head("bert.pooler.dense", config.hiddenSize(), false));
        classifier = LinearGroup.of(head(CLASSIFIER, labels, options.newHead()));
    }

    private Linear head(String path, long out, boolean anew) throws IOException {
        FrozenTensors.Maker normal = (seed, name, shape) -> Init.normal(seed, name, config.initializerRange(), shape);
        FrozenTensors.Maker zero = (seed, name, shape) -> org.peft4j.nn.Tensors.zeros(shape);
        return new Linear(
                path,
                tensors.head(path + ".weight", normal, anew, out, config.hiddenSize()),
                tensors.head(path + ".bias", zero, anew, out));
    }

    @Override
    public Points points() {
        List<LinearPoint> linears = new ArrayList<>(backbone.linearPoints());
        linears.addAll(pooler.points(false));
        linears.addAll(classifier.points(true));
        return new Points(
                "bert",
                "BertForSequenceClassification",
                config.hiddenSize(),
                config.numHiddenLayers(),
                config.numAttentionHeads(),
                linears,
                backbone.keyValuePoints(),
                tensors.points(),
                tensors.fresh());
    }

    @Override
    public int maxPositions() {
        return config.maxPositionEmbeddings();
    }

    @Override
    public int vocabulary() {
        return config.vocabSize();
    }

    @Override
    public List<String> notes() {
        return config.notes();
    }

    @Override
    public Tensor logits(int[] tokens, ForwardContext context) {
        return Scopes.scoped(() -> {
            Packing rows = Packing.ones(context.packing().sequences());
            Tensor first = backbone.forward(tokens, Rows.FIRST, context);
            Tensor pooled = pooler.forwardOne(first, rows, context).tanh();
            Tensor dropped = Ops.dropout(
                    pooled, context.training() ? config.classifierDropout() : 0, context.seed("classifier"));
            return classifier.forwardOne(dropped, rows, context).to(ScalarType.Float);
        });
    }

    @Override
    public ClassificationModel withTensors(Map<String, Tensor> changed) {
        try {
            return new BertClassifier(directory, labels, options, changed);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void close() {
        backbone.close();
        pooler.close();
        classifier.close();
        tensors.close();
    }
}
