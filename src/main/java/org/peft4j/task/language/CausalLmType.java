package org.peft4j.task.language;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.chat.ChatFormat;
import org.peft4j.data.template.ChatTemplate;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.HeadKind;
import org.peft4j.task.Dataset;
import org.peft4j.task.Origin;
import org.peft4j.task.ShownRow;
import org.peft4j.task.TaskOfRow;
import org.peft4j.task.TaskType;

/** Language modelling of texts, of responses to prompts, of conversations. */
public final class CausalLmType implements TaskType<CausalLmConfig> {
    static final String PEFT_NAME = "CAUSAL_LM";

    @Override
    public String name() {
        return CausalLmConfig.TYPE;
    }

    @Override
    public String peftName() {
        return PEFT_NAME;
    }

    @Override
    public Optional<String> architectureSuffix() {
        return Optional.of("ForCausalLM");
    }

    @Override
    public Class<CausalLmConfig> configType() {
        return CausalLmConfig.class;
    }

    @Override
    public CausalLmConfig defaults() {
        return CausalLmConfig.defaults();
    }

    @Override
    public Prepared<?> prepare(
            CausalLmConfig config, Origin origin, Rows train, @Nullable Rows validation, TextTokenizer tokenizer)
            throws IOException {
        origin.layout(HeadKind.LANGUAGE); // refuses models that are none
        ChatFormat format = format(config, origin.directory(), origin.adapter());
        RowEncoder encoder = new RowEncoder(config, format);
        AnsweredRows rows;
        try (RowReader reader = train.open(TaskOfRow.with(List.of(), config))) {
            rows = AnsweredRows.read(reader, encoder, tokenizer);
        }
        ChatTemplate template = rows.template();
        CausalLm task = new CausalLm(config, format, template == null ? chosen(format) : template);
        Dataset<LanguageExample> data = trained(rows, config, tokenizer, origin.notes());
        if (validation == null) {
            return new Prepared<>(task, data, null);
        }
        try (RowReader reader = validation.open(TaskOfRow.with(List.of(), config))) {
            return new Prepared<>(task, data, task.read(reader, tokenizer));
        }
    }

    /** Rows to train on: those that teach something, put together where that is asked for. */
    private static Dataset<LanguageExample> trained(
            AnsweredRows rows, CausalLmConfig config, TextTokenizer tokenizer, List<String> notes) {
        List<LanguageExample> examples = new ArrayList<>(rows.examples());
        Path file = rows.file();
        int before = examples.size();
        examples.removeIf(example -> example.counted(0) == 0);
        if (examples.size() < before) {
            notes.add((before - examples.size()) + " of " + before + " rows of " + file
                    + " are left out: none of their tokens counts (too short, or nothing that is learnt among the "
                    + tokenizer.maxLength() + " tokens that are kept)");
        }
        if (examples.isEmpty()) {
            throw rows.nothingCounts();
        }
        if (!config.packing()) {
            return new Dataset<>(file, examples, Map.of(), rows.texts(Double.NaN));
        }
        List<LanguageExample> packs = Packs.of(examples, tokenizer.maxLength());
        double tokens = packs.stream().mapToLong(LanguageExample::tokens).sum();
        return new Dataset<>(
                file, packs, Map.of(), rows.texts(tokens / ((double) packs.size() * tokenizer.maxLength())));
    }

    @Override
    public CausalLm use(CausalLmConfig config, Origin origin) throws IOException {
        origin.layout(HeadKind.LANGUAGE);
        ChatFormat format = format(config, origin.directory(), origin.adapter());
        return new CausalLm(config, format, chosen(format));
    }

    /** How conversations become texts for a model, and its adapter. */
    public static ChatFormat format(CausalLmConfig config, ModelDirectory directory, @Nullable AdapterFile adapter)
            throws IOException {
        return ChatFormat.open(
                directory.directory(),
                adapter == null ? null : adapter.directory(),
                config.chat().template(),
                config.chat().templateVariables());
    }

    /** What the caller or the adapter chose, which stays with it. */
    private static @Nullable ChatTemplate chosen(ChatFormat format) {
        return format.isChosen() ? format.template(false) : null;
    }

    /** Rows that are not packed. Of a text's first token, which inserted rows alone can tell, it says that it is not trained. */
    @Override
    public ShownRow.Viewer viewer(CausalLmConfig config, ModelDirectory directory, @Nullable AdapterFile adapter)
            throws IOException {
        RowEncoder encoder = new RowEncoder(config, format(config, directory, adapter));
        return (rows, tokenizer) -> encoder.encode(rows, tokenizer, true).stream()
                .map(row -> new ShownRow(
                        row.rendered(),
                        ShownRow.boxed(row.tokens().tokens()),
                        trained(row.counts()),
                        row.counts() == null ? row.reason() : row.tokens().cut() ? "the row is cut" : null))
                .toList();
    }

    private static @Nullable List<Integer> trained(boolean @Nullable [] counts) {
        return counts == null
                ? null
                : IntStream.range(0, counts.length)
                        .mapToObj(token -> token > 0 && counts[token] ? 1 : 0)
                        .toList();
    }
}
