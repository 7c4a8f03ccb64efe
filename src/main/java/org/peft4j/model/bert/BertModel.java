package org.peft4j.model.bert;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.error.ConfigException;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.FrozenTensors;
import org.peft4j.model.Head;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadLayout;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.Inputs;
import org.peft4j.model.LayerOrder;
import org.peft4j.model.LinearHead;
import org.peft4j.model.Model;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Block;
import org.peft4j.nn.Embedding;
import org.peft4j.nn.LayerNorm;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.SequencePoint;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/** BERT's embeddings and blocks. */
final class BertModel implements Model {
    private static final String PREFIX = "bert.";
    private static final String EMBEDDINGS = PREFIX + "embeddings";
    private static final String POOLER = PREFIX + "pooler.dense";
    private static final String CLASSIFIER = "classifier";

    private final ModelDirectory directory;
    private final ModelOptions options;
    private final Map<String, Tensor> changed;
    private final BertConfig config;
    private final FrozenTensors tensors;
    private final Embedding words;
    private final SequencePoint front;
    private final Embedding positions;
    private final Embedding tokenTypes;
    private final LayerNorm norm;
    private final List<BertBlock> blocks = new ArrayList<>();
    private final Points points;

    BertModel(ModelDirectory directory, ModelOptions options, Map<String, Tensor> changed) throws IOException {
        this.directory = directory;
        this.options = options;
        this.changed = changed;
        BertConfig read = BertConfig.read(directory);
        List<Integer> order = LayerOrder.of(options, "bert", read.sizes().layers(), null);
        BertConfig ordered = read.withLayers(order.size());
        config = options.dropout() ? ordered.withDropout() : ordered.withoutDropout();
        tensors = new FrozenTensors(directory, PREFIX, options, changed);
        if (!options.layers().isEmpty()) {
            tensors.order(order, BertBlock::path);
        }
        int h = config.sizes().hidden();
        String wordsPath = EMBEDDINGS + ".word_embeddings";
        words = Embedding.ofWords(
                wordsPath, tensors.table(wordsPath + ".weight", config.tables().vocabulary(), h), false);
        front = new SequencePoint(EMBEDDINGS, words.point(), 1);
        positions = embedding("position_embeddings", config.tables().positions(), h);
        tokenTypes = embedding("token_type_embeddings", config.tables().tokenTypes(), h);
        norm = BertBlock.norm(tensors, EMBEDDINGS + ".LayerNorm", config);
        for (int layer = 0; layer < config.sizes().layers(); layer++) {
            blocks.add(new BertBlock(config, layer, tensors));
        }
        points = new Points(
                        "bert",
                        "BertModel",
                        h,
                        config.sizes().layers(),
                        config.sizes().heads(),
                        linearPoints(),
                        blocks.stream().map(BertBlock::keyValuePoint).toList(),
                        tensors.points(),
                        tensors.fresh())
                .on(options.device())
                .inOrder(options.layers())
                .and(List.of(words.point(), positions.point(), tokenTypes.point(), front))
                .and(blocks.stream()
                        .flatMap(block -> block.sublayerPoints().stream())
                        .toList())
                .and(blocks.stream().map(BertBlock::point).toList());
    }

    private Embedding embedding(String name, long rows, long columns) throws IOException {
        String path = EMBEDDINGS + "." + name;
        return new Embedding(path, tensors.table(path + ".weight", rows, columns));
    }

    private List<LinearPoint> linearPoints() {
        return blocks.stream().flatMap(block -> block.linearPoints().stream()).toList();
    }

    @Override
    public Device device() {
        return options.device();
    }

    @Override
    public ModelInfo info() {
        ModelInfo.Stack encoder = new ModelInfo.Stack(
                config.sizes().hidden(),
                config.sizes().layers(),
                config.sizes().heads(),
                config.sizes().heads(),
                config.sizes().head());
        return new ModelInfo(
                "bert",
                encoder,
                null,
                config.tables().positions(),
                true,
                config.tables().vocabulary());
    }

    @Override
    public Points points() {
        return points;
    }

    @Override
    public List<String> notes() {
        return config.notes();
    }

    @Override
    public Tensor embed(Inputs inputs, ForwardContext context) {
        Tokens tokens = (Tokens) inputs;
        check(tokens, context);
        return Scopes.scoped(() -> {
            Packing rows = context.packing();
            ScalarType type = options.compute();
            Tensor text = words.forward(Tensors.ofInts(options.device(), tokens.ids()), type, context.text(), context);
            Tensor sum = context.insert(front, text);
            Tensor places = Tensors.ofLongs(options.device(), context.positions(), Math.toIntExact(rows.rows()));
            sum = sum.add(positions.forward(places, type, rows, context));
            sum = sum.add(
                    tokenTypes.forward(Tensors.ofInts(options.device(), types(tokens, context)), type, rows, context));
            Tensor normed = norm.forward(sum, null, rows, context, 0);
            double p = context.training() ? config.dropouts().hidden() : 0;
            return context.embedded(front, Ops.dropout(normed, p, context.seed(EMBEDDINGS)));
        });
    }

    /** Token types of all rows; inserted ones have type 0. */
    private static int[] types(Tokens tokens, ForwardContext context) {
        int[] types = new int[Math.toIntExact(context.packing().rows())];
        int[] given = tokens.types();
        if (given != null) {
            Packing text = context.text();
            for (int s = 0; s < text.sequences(); s++) {
                System.arraycopy(given, (int) text.begin(s), types, (int) context.rowOf(s, 0), text.length(s));
            }
        }
        return types;
    }

    private void check(Tokens tokens, ForwardContext context) {
        Packing packing = context.text();
        if (packing.rows() != tokens.rows()) {
            throw new IllegalArgumentException(
                    "the packing has " + packing.rows() + " rows, but there are " + tokens.rows() + " tokens");
        }
        for (int token : tokens.ids()) {
            if (token < 0 || token >= config.tables().vocabulary()) {
                throw new IllegalArgumentException("token " + token + " is not in the model's vocabulary of "
                        + config.tables().vocabulary() + "; does tokenizer.json belong to this model?");
            }
        }
        for (int type : tokens.types() == null ? new int[0] : tokens.types()) {
            if (type < 0 || type >= config.tables().tokenTypes()) {
                throw new IllegalArgumentException("token type " + type + " is none of the model's "
                        + config.tables().tokenTypes()
                        + " (type_vocab_size); does tokenizer.json belong to this model?");
            }
        }
        for (ForwardContext.Segment segment : context.segments()) {
            int room = config.tables().positions() - ForwardContext.before(segment);
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
    public List<Block> blocks() {
        return List.copyOf(blocks);
    }

    /** BERT's blocks end with a norm of their own. */
    @Override
    public Tensor finish(Tensor h, Packing rows, ForwardContext context) {
        return h.alias();
    }

    @Override
    public Optional<HeadLayout> headLayout(HeadKind kind) {
        return switch (kind) {
            case SEQUENCE ->
                Optional.of(new HeadLayout(
                        "BertForSequenceClassification",
                        ReadRows.FIRST,
                        new HeadLayout.Pooler(POOLER, true),
                        classifier(),
                        config.initializerRange()));
            case TOKENS ->
                Optional.of(new HeadLayout(
                        "BertForTokenClassification", ReadRows.TEXT, null, classifier(), config.initializerRange()));
            case NONE ->
                Optional.of(new HeadLayout(
                        "BertModel",
                        ReadRows.TEXT,
                        new HeadLayout.Pooler(POOLER, false),
                        null,
                        config.initializerRange()));
            case LANGUAGE -> Optional.empty();
        };
    }

    private HeadLayout.Output classifier() {
        return new HeadLayout.Output(CLASSIFIER, true, config.dropouts().classifier());
    }

    @Override
    public Head head(HeadKind kind, HeadOptions of) {
        HeadLayout layout = headLayout(kind)
                .orElseThrow(() -> new ConfigException("a model of the family bert cannot do " + kind.words()
                        + ": its rows see what comes after them; take a model that was made for it, such as a Llama"));
        try {
            return new LinearHead(
                    layout, of, directory, new FrozenTensors(directory, PREFIX, options, changed), points);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public Model withTensors(Map<String, Tensor> other) {
        try {
            return new BertModel(directory, options, other);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void close() {
        blocks.forEach(BertBlock::close);
        tensors.close();
    }
}
