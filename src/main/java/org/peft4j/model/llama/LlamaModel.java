package org.peft4j.model.llama;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.FrozenTensors;
import org.peft4j.model.Head;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadLayout;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.Inputs;
import org.peft4j.model.LinearHead;
import org.peft4j.model.LinearLanguageHead;
import org.peft4j.model.Model;
import org.peft4j.model.ModelInfo;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Block;
import org.peft4j.nn.Embedding;
import org.peft4j.nn.Linear;
import org.peft4j.nn.RmsNorm;
import org.peft4j.nn.Rotary;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.SequencePoint;

/** A Llama's embedding, blocks and last norm. */
final class LlamaModel implements Model {
    static final String PREFIX = "model.";
    private static final String EMBEDDING = PREFIX + "embed_tokens";
    private static final String NORM = PREFIX + "norm";
    private static final String SCORE = "score";
    private static final String LANGUAGE = "lm_head";

    private final ModelDirectory directory;
    private final ModelOptions options;
    private final Map<String, Tensor> changed;
    private final LlamaConfig config;
    private final FrozenTensors tensors;
    private final Tensor table;
    private final Embedding words;
    private final SequencePoint front;
    private final Rotary rotary;
    private final List<LlamaBlock> blocks = new ArrayList<>();
    private final RmsNorm norm;
    private final Points points;

    LlamaModel(ModelDirectory directory, ModelOptions options, Map<String, Tensor> changed) throws IOException {
        this.directory = directory;
        this.options = options;
        this.changed = changed;
        LlamaConfig read = LlamaConfig.read(directory);
        config = options.dropout() ? read.withDropout() : read.withoutDropout();
        tensors = new FrozenTensors(directory, PREFIX, options, changed);
        ModelInfo.Stack stack = config.stack();
        table = table();
        words = Embedding.ofWords(EMBEDDING, table, config.vocabulary().tied());
        front = new SequencePoint(EMBEDDING, stack.hiddenSize());
        rotary = new Rotary(config.attention().rotary());
        for (int layer = 0; layer < stack.layers(); layer++) {
            blocks.add(new LlamaBlock(config, layer, rotary, tensors));
        }
        norm = LlamaBlock.norm(tensors, NORM, config);
        points = new Points(
                        "llama",
                        "LlamaModel",
                        stack.hiddenSize(),
                        stack.layers(),
                        stack.queryHeads(),
                        blocks.stream()
                                .flatMap(block -> block.linearPoints().stream())
                                .toList(),
                        blocks.stream().map(LlamaBlock::keyValuePoint).toList(),
                        tensors.points(),
                        tensors.fresh())
                .and(List.of(words.point(), front));
    }

    /** The embedding's; of tied ones a file may hold the head's alone. */
    private Tensor table() throws IOException {
        long rows = config.vocabulary().size();
        long columns = config.stack().hiddenSize();
        boolean elsewhere = config.vocabulary().tied()
                && tensors.rows(EMBEDDING + ".weight").isEmpty()
                && tensors.rows(LANGUAGE + ".weight").isPresent();
        return elsewhere
                ? tensors.matrixAs(EMBEDDING + ".weight", LANGUAGE + ".weight", rows, columns)
                : tensors.matrix(EMBEDDING + ".weight", rows, columns);
    }

    @Override
    public ModelInfo info() {
        return new ModelInfo(
                "llama",
                null,
                config.stack(),
                config.vocabulary().positions(),
                false,
                config.vocabulary().size());
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
        check(tokens, context.text());
        return Scopes.scoped(() -> {
            Tensor text = words.forward(Tensors.ofInts(tokens.ids()), options.compute(), context.text(), context);
            return context.insert(front, text).alias();
        });
    }

    private void check(Tokens tokens, Packing packing) {
        if (packing.rows() != tokens.rows()) {
            throw new IllegalArgumentException(
                    "the packing has " + packing.rows() + " rows, but there are " + tokens.rows() + " tokens");
        }
        int size = config.vocabulary().size();
        for (int token : tokens.ids()) {
            if (token < 0 || token >= size) {
                throw new IllegalArgumentException("token " + token + " is not in the model's vocabulary of " + size
                        + "; does tokenizer.json belong to this model?");
            }
        }
        for (int s = 0; s < packing.sequences(); s++) {
            if (packing.length(s) == 0) {
                throw new IllegalArgumentException("sequence " + s + " must have at least 1 token, has 0");
            }
        }
    }

    @Override
    public List<Block> blocks() {
        return List.copyOf(blocks);
    }

    @Override
    public Tensor finish(Tensor h, Packing rows, ForwardContext context) {
        return Scopes.scoped(() -> norm.forward(h, null, rows, context).y());
    }

    @Override
    public long keptPositions() {
        return rotary.sameUpTo();
    }

    @Override
    public Optional<HeadLayout> headLayout(HeadKind kind) {
        LlamaConfig.Heads heads = config.heads();
        double std = heads.initializerRange();
        return Optional.of(
                switch (kind) {
                    case SEQUENCE -> layout("LlamaForSequenceClassification", ReadRows.last(1), SCORE, false, 0, std);
                    case TOKENS ->
                        layout(
                                "LlamaForTokenClassification",
                                ReadRows.TEXT,
                                SCORE,
                                heads.tokenBias(),
                                heads.tokenDropout(),
                                std);
                    case LANGUAGE -> layout("LlamaForCausalLM", ReadRows.ALL, LANGUAGE, false, 0, std);
                    case NONE -> new HeadLayout("LlamaModel", ReadRows.TEXT, null, false, null, false, 0, std);
                });
    }

    private static HeadLayout layout(
            String architecture, ReadRows reads, String output, boolean bias, double dropout, double std) {
        return new HeadLayout(architecture, reads, null, false, output, bias, dropout, std);
    }

    @Override
    public Head head(HeadKind kind, HeadOptions of) {
        HeadLayout layout = headLayout(kind).orElseThrow();
        FrozenTensors own = new FrozenTensors(directory, PREFIX, options, changed);
        try {
            return kind == HeadKind.LANGUAGE
                    ? new LinearLanguageHead(
                            layout.architecture(), new Linear(LANGUAGE, output(own), null), own, points)
                    : new LinearHead(layout, of, directory, own, points);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The head's matrix: its own, unless the config ties it to the embedding and the file has no other values for it. */
    private Tensor output(FrozenTensors own) throws IOException {
        String path = LANGUAGE + ".weight";
        boolean there = own.rows(path).isPresent() || changed.containsKey(path);
        if (config.vocabulary().tied() && !there) {
            return table;
        }
        Tensor weight =
                own.matrix(path, config.vocabulary().size(), config.stack().hiddenSize());
        return config.vocabulary().tied() && weight.equal(table) ? table : weight;
    }

    @Override
    public Model withTensors(Map<String, Tensor> other) {
        try {
            return new LlamaModel(directory, options, other);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void close() {
        blocks.forEach(LlamaBlock::close);
        rotary.close();
        tensors.close();
    }
}
