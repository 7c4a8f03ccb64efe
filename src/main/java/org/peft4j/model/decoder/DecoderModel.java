package org.peft4j.model.decoder;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
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
import org.peft4j.nn.Norm;
import org.peft4j.nn.Rotary;
import org.peft4j.nn.RotaryFrequencies;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Point;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.SequencePoint;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/** A decoder's embedding, blocks and last norm. */
final class DecoderModel implements Model {
    /** Of GPT-NeoX in files of transformers 4. */
    private static final String OLD_LANGUAGE_HEAD = "embed_out.weight";

    private final DecoderFamily family;
    private final DecoderConfig config;
    private final List<String> notes;
    private final ModelDirectory directory;
    private final ModelOptions options;
    private final Map<String, Tensor> changed;
    private final FrozenTensors tensors;
    private final Tensor table;
    private final Embedding words;
    private final @Nullable Embedding positions;
    private final SequencePoint front;
    private final Map<RotaryFrequencies, Rotary> rotaries = new LinkedHashMap<>();
    private final List<DecoderBlock> blocks = new ArrayList<>();
    private final Norm norm;
    private final Points points;

    DecoderModel(
            DecoderFamily family,
            DecoderConfig config,
            List<String> notes,
            ModelDirectory directory,
            ModelOptions options,
            Map<String, Tensor> changed)
            throws IOException {
        this.family = family;
        this.config = config;
        this.notes = List.copyOf(notes);
        this.directory = directory;
        this.options = options;
        this.changed = changed;
        DecoderNames names = family.names();
        ModelInfo.Stack stack = config.stack();
        tensors = new FrozenTensors(directory, names.backbone().prefix(), options, changed);
        if (!options.layers().isEmpty()) {
            tensors.order(options.layers(), names::block);
        }
        DecoderTensors own = new DecoderTensors(config, names, tensors);
        table = table();
        String path = names.backbone().prefix() + names.backbone().words();
        words = Embedding.ofWords(path, table, config.vocabulary().tied());
        positions = positions(names);
        front = new SequencePoint(path, words.point(), config.vocabulary().scale());
        for (int layer = 0; layer < stack.layers(); layer++) {
            RotaryFrequencies rotary = config.layers().get(layer).attention().rotary();
            blocks.add(new DecoderBlock(
                    layer,
                    rotary == null ? null : rotaries.computeIfAbsent(rotary, of -> new Rotary(of, options.device())),
                    own));
        }
        norm = own.norm(names.backbone().prefix() + names.backbone().norm());
        points = offered();
    }

    private Points offered() {
        List<Point<?>> more = new ArrayList<>(List.of(words.point(), front));
        blocks.forEach(block -> more.addAll(block.sublayerPoints()));
        blocks.forEach(block -> more.add(block.point()));
        blocks.forEach(block -> more.addAll(block.expertsPoints()));
        ModelInfo.Stack stack = config.stack();
        return new Points(
                        family.modelType(),
                        family.names().classes().prefix() + "Model",
                        stack.hiddenSize(),
                        stack.layers(),
                        stack.queryHeads(),
                        blocks.stream()
                                .flatMap(block -> block.linearPoints().stream())
                                .toList(),
                        blocks.stream().map(DecoderBlock::keyValuePoint).toList(),
                        tensors.points(),
                        tensors.fresh())
                .on(options.device())
                .inOrder(options.layers())
                .and(more);
    }

    /** The embedding's; of tied ones a file may hold the head's alone. */
    private Tensor table() throws IOException {
        DecoderNames names = family.names();
        String path = names.backbone().prefix() + names.backbone().words() + ".weight";
        String head = DecoderNames.LANGUAGE_HEAD + ".weight";
        long rows = config.vocabulary().size();
        long columns = config.stack().hiddenSize();
        boolean elsewhere = config.vocabulary().tied()
                && tensors.rows(path).isEmpty()
                && tensors.rows(head).isPresent();
        return elsewhere ? tensors.tableAs(path, head, rows, columns) : tensors.table(path, rows, columns);
    }

    private @Nullable Embedding positions(DecoderNames names) throws IOException {
        if (names.backbone().positions() == null) {
            return null;
        }
        String path = names.backbone().prefix() + names.backbone().positions();
        return new Embedding(
                path,
                tensors.table(
                        path + ".weight",
                        config.vocabulary().positions(),
                        config.stack().hiddenSize()));
    }

    @Override
    public Device device() {
        return options.device();
    }

    @Override
    public ModelInfo info() {
        return new ModelInfo(
                family.modelType(),
                null,
                config.stack(),
                config.vocabulary().positions(),
                positions != null,
                config.vocabulary().size());
    }

    @Override
    public Points points() {
        return points;
    }

    @Override
    public List<String> notes() {
        return notes;
    }

    @Override
    public Tensor embed(Inputs inputs, ForwardContext context) {
        Tokens tokens = (Tokens) inputs;
        check(tokens, context.text());
        return Scopes.scoped(() -> {
            Tensor text = words.forward(
                    Tensors.ofInts(options.device(), tokens.ids()), options.compute(), context.text(), context);
            Tensor h = context.insert(front, scaled(text));
            if (positions != null) {
                long[] places = context.positions();
                h = h.add(positions.forward(
                        Tensors.ofLongs(options.device(), places, places.length),
                        options.compute(),
                        context.packing(),
                        context));
            }
            double p = context.training() ? config.vocabulary().dropout() : 0;
            Tensor dropped = Ops.dropout(h, p, p == 0 ? 0 : context.seed(front.path()));
            return context.embedded(front, dropped).alias();
        });
    }

    /** The factor is rounded to the activations' type first, as transformers does. */
    private Tensor scaled(Tensor text) {
        double scale = config.vocabulary().scale();
        return scale == 1
                ? text
                : text.mul(torch.full(
                        new long[0], new Scalar(scale), options.device().options(options.compute())));
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
    public long rowsVersion(long positions) {
        return rotaries.values().stream()
                .mapToLong(rotary -> rotary.version(positions))
                .max()
                .orElse(0);
    }

    /** Of sequences the last row is read; see {@link UnpaddedHead} for texts that end with the padding's token. */
    @Override
    public Optional<HeadLayout> headLayout(HeadKind kind) {
        DecoderNames.Classes classes = family.names().classes();
        DecoderConfig.Tokens tokens = config.heads().tokens();
        return Optional.of(
                switch (kind) {
                    case SEQUENCE ->
                        layout(
                                classes.prefix() + "ForSequenceClassification",
                                ReadRows.last(1),
                                new HeadLayout.Output(DecoderNames.SEQUENCE_HEAD, false, 0));
                    case TOKENS ->
                        layout(
                                classes.prefix() + "ForTokenClassification",
                                ReadRows.TEXT,
                                new HeadLayout.Output(classes.tokensHead(), tokens.bias(), tokens.dropout()));
                    case LANGUAGE ->
                        layout(
                                classes.language(),
                                ReadRows.ALL,
                                new HeadLayout.Output(DecoderNames.LANGUAGE_HEAD, false, 0));
                    case NONE -> layout(classes.prefix() + "Model", ReadRows.TEXT, null);
                });
    }

    private HeadLayout layout(String architecture, ReadRows reads, HeadLayout.@Nullable Output output) {
        return new HeadLayout(architecture, reads, null, output, config.heads().initializerRange());
    }

    @Override
    public Head head(HeadKind kind, HeadOptions of) {
        HeadLayout layout = headLayout(kind).orElseThrow();
        FrozenTensors own =
                new FrozenTensors(directory, family.names().backbone().prefix(), options, changed);
        try {
            if (kind == HeadKind.LANGUAGE) {
                return new LinearLanguageHead(
                        layout.architecture(),
                        new Linear(DecoderNames.LANGUAGE_HEAD, output(own), null),
                        new LinearLanguageHead.Logits(
                                config.heads().softcap(), config.heads().scale()),
                        own,
                        points);
            }
            Head head = new LinearHead(layout, of, directory, own, points);
            Integer padding = config.heads().padding();
            return kind == HeadKind.SEQUENCE && padding != null ? new UnpaddedHead(head, padding) : head;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The head's matrix: its own, unless the config ties it to the embedding and the file has no other values for it. */
    private Tensor output(FrozenTensors own) throws IOException {
        String path = DecoderNames.LANGUAGE_HEAD + ".weight";
        long rows = config.vocabulary().size();
        long columns = config.stack().hiddenSize();
        boolean there = own.rows(path).isPresent() || changed.containsKey(path);
        if (!there && own.rows(OLD_LANGUAGE_HEAD).isPresent()) {
            return own.matrixAs(path, OLD_LANGUAGE_HEAD, rows, columns);
        }
        if (config.vocabulary().tied() && !there) {
            String words = family.names().backbone().prefix()
                    + family.names().backbone().words() + ".weight";
            // A change of the embedding alone leaves the head what it was.
            return changed.containsKey(words) ? own.matrixAs(path, words, rows, columns) : table;
        }
        Tensor weight = own.matrix(path, rows, columns);
        return config.vocabulary().tied() && weight.equal(Device.CPU.move(table)) ? table : weight;
    }

    @Override
    public Model withTensors(Map<String, Tensor> other) {
        try {
            return family.open(directory, options, other);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void close() {
        blocks.forEach(DecoderBlock::close);
        rotaries.values().forEach(Rotary::close);
        tensors.close();
    }
}
