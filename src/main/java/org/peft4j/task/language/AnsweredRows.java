package org.peft4j.task.language;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.CausalLmConfig.Rows;
import org.peft4j.data.Row;
import org.peft4j.data.RowReader;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.template.ChatTemplate;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.task.Dataset;
import org.peft4j.task.RowBlocks;

/** The rows of a file with what counts of them, and how they became texts; read once, from front to end. */
final class AnsweredRows {
    private final Path file;
    private final List<LanguageExample> examples = new ArrayList<>();
    private final Map<String, Long> forms = new LinkedHashMap<>();
    private final Map<String, ChatTemplate> templates = new LinkedHashMap<>();

    private AnsweredRows(Path file) {
        this.file = file;
    }

    static AnsweredRows read(RowReader reader, RowEncoder encoder, TextTokenizer tokenizer) throws IOException {
        AnsweredRows all = new AnsweredRows(reader.file());
        RowBlocks.read(reader, encoder::characters, rows -> {
            List<EncodedRow> encoded = encoder.encode(rows, tokenizer, true);
            for (int i = 0; i < rows.size(); i++) {
                all.add(rows.get(i), encoded.get(i), encoder.task(rows.get(i)));
            }
        });
        return all;
    }

    private void add(Row row, EncodedRow encoded, int task) {
        examples.add(encoded.example(row, task));
        forms.merge(LanguageRow.name(encoded.form()), 1L, Long::sum);
        if (encoded.template() != null) {
            templates.put(encoded.template().where(), encoded.template());
        }
    }

    Path file() {
        return file;
    }

    List<LanguageExample> examples() {
        return examples;
    }

    /**
     * The one template that made texts of them; null if none had to.
     *
     * @throws ConfigException if several did: beside the adapter there is place for one
     */
    @Nullable
    ChatTemplate template() {
        if (templates.size() > 1) {
            throw new ConfigException(file + ": rows with tools take another chat template than rows without ("
                    + String.join("; ", templates.keySet())
                    + "), and an adapter is trained with one; name it (task.template), or train on rows of one kind");
        }
        return templates.isEmpty() ? null : templates.values().iterator().next();
    }

    /** @param full of packs how full they are, else NaN */
    Dataset.Texts texts(double full) {
        boolean alpaca = templates.isEmpty() && forms.containsKey(LanguageRow.name(Rows.INSTRUCTION));
        return new Dataset.Texts(
                forms,
                alpaca ? AlpacaPrompt.NAME : templates.isEmpty() ? null : String.join("; ", templates.keySet()),
                full);
    }

    MalformedFileException nothingCounts() {
        return new MalformedFileException(
                file, -1, "no row has a token that counts; give longer texts, or a larger max_length");
    }
}
