package org.peft4j.task.tagging;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.TokenClassificationConfig;
import org.peft4j.data.Labels;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.TextTokenizer.WordTokens;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.ModelDirectory;
import org.peft4j.metrics.EntityScores;
import org.peft4j.model.HeadKind;
import org.peft4j.nn.seam.RowTasks;
import org.peft4j.task.Origin;
import org.peft4j.task.OutputLabels;
import org.peft4j.task.ShownRow;
import org.peft4j.task.TaskType;

/** Token classification: what the tags are called. */
public final class TokenClassificationType implements TaskType<TokenClassificationConfig> {
    static final String PEFT_NAME = "TOKEN_CLS";

    @Override
    public String name() {
        return TokenClassificationConfig.TYPE;
    }

    @Override
    public String peftName() {
        return PEFT_NAME;
    }

    @Override
    public Optional<String> architectureSuffix() {
        return Optional.of("ForTokenClassification");
    }

    @Override
    public Class<TokenClassificationConfig> configType() {
        return TokenClassificationConfig.class;
    }

    @Override
    public TokenClassificationConfig defaults() {
        return TokenClassificationConfig.defaults();
    }

    private static OutputLabels outputs(Origin origin) {
        TokenClassificationConfig saved = origin.saved(TokenClassificationConfig.class);
        return new OutputLabels(
                origin.directory(),
                origin.adapter(),
                saved == null ? List.of() : saved.labels(),
                origin.layout(HeadKind.TOKENS).outputPath());
    }

    @Override
    public Prepared<?> prepare(
            TokenClassificationConfig config,
            Origin origin,
            Rows train,
            @Nullable Rows validation,
            TextTokenizer tokenizer)
            throws IOException {
        OutputLabels outputs = outputs(origin);
        AnsweredWords rows = read(train, config, tokenizer);
        AnsweredWords validationRows = validation == null ? null : read(validation, config, tokenizer);
        // A tag that only the validation rows have is a class, too: rare tags need not be in both.
        Map<String, Long> counts = new LinkedHashMap<>(rows.counts());
        if (validationRows != null) {
            List<String> unseen = new ArrayList<>(validationRows.counts().keySet());
            unseen.removeAll(counts.keySet());
            unseen.forEach(tag -> counts.put(tag, 0L));
            if (!unseen.isEmpty()) {
                origin.notes()
                        .add("tags " + Labels.quoted(unseen) + " are in " + validationRows.file()
                                + " alone: nothing can be learned of them");
            }
        }
        Labels labels = outputs.forTraining(config.labels(), config.newHead(), rows.file(), counts, origin.notes());
        TokenClassification task = decided(config, labels, config.newHead() || outputs.adapterHead() > 0);
        if (EntityScores.isBio(labels.names())) {
            noteMalformed(rows, labels, origin.notes());
            if (validationRows != null) {
                noteMalformed(validationRows, labels, origin.notes());
            }
        }
        return new Prepared<>(
                task, rows.dataset(labels), validationRows == null ? null : validationRows.dataset(labels));
    }

    private static void noteMalformed(AnsweredWords rows, Labels labels, List<String> notes) {
        long malformed = rows.malformedBio(labels);
        if (malformed > 0) {
            notes.add(
                    malformed + " of " + rows.size() + " rows of " + rows.file()
                            + " have tags that are no BIO sequence:"
                            + " an I- that does not stand behind a tag of its type; it is taken for the beginning of an entity");
        }
    }

    private static AnsweredWords read(Rows rows, TokenClassificationConfig config, TextTokenizer tokenizer)
            throws IOException {
        try (RowReader reader = rows.open(List.of(config.words(), config.tags()))) {
            return AnsweredWords.read(reader, config, tokenizer);
        }
    }

    @Override
    public TokenClassification use(TokenClassificationConfig config, Origin origin) {
        OutputLabels outputs = outputs(origin);
        return decided(config, outputs.forUse(config.labels()), outputs.adapterHead() > 0);
    }

    private static TokenClassification decided(TokenClassificationConfig config, Labels labels, boolean headAnew) {
        return new TokenClassification(config.withLabels(labels.names()), labels, headAnew);
    }

    @Override
    public ShownRow.Viewer viewer(
            TokenClassificationConfig config, ModelDirectory directory, @Nullable AdapterFile adapter) {
        return (rows, tokenizer) -> {
            List<WordTokens> tokens = TokenClassification.tokens(config, rows, tokenizer);
            List<ShownRow> shown = new ArrayList<>();
            for (int i = 0; i < rows.size(); i++) {
                List<String> words = rows.get(i).texts(config.words());
                TaggedExample example = TokenClassification.example(
                        tokens.get(i),
                        words.size(),
                        TaggedExample.NONE,
                        RowTasks.NONE,
                        rows.get(i).line());
                int[] trained = new int[tokens.get(i).tokens().length];
                for (int first : example.firstOf()) {
                    if (first >= 0) {
                        trained[first] = 1;
                    }
                }
                shown.add(new ShownRow(
                        String.join(" ", words),
                        ShownRow.boxed(tokens.get(i).tokens()),
                        ShownRow.boxed(trained),
                        null));
            }
            return shown;
        };
    }
}
