package org.peft4j.task.language;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntFunction;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.peft4j.config.CausalLmConfig;
import org.peft4j.config.CausalLmConfig.LossOn;
import org.peft4j.config.CausalLmConfig.Truncation;
import org.peft4j.data.Row;
import org.peft4j.data.TextTokenizer;
import org.peft4j.data.TextTokenizer.Tokens;
import org.peft4j.data.chat.AssistantTokens;
import org.peft4j.data.chat.ChatFormat;
import org.peft4j.data.template.AssistantSpans;
import org.peft4j.data.template.AssistantSpans.Turns;
import org.peft4j.data.tokenizer.NativeTokenizer.Placed;
import org.peft4j.error.ConfigException;
import org.peft4j.task.TaskOfRow;

/**
 * Turns rows of any form into tokens of which it is known whether they count. Texts and prompts get the tokenizer's special
 * tokens; behind a response to train on stands its end token. A conversation has the special tokens that its template writes,
 * and no others.
 */
final class RowEncoder {
    private final CausalLmConfig config;
    private final ChatFormat format;

    RowEncoder(CausalLmConfig config, ChatFormat format) {
        this.config = config;
        this.format = format;
    }

    /** Which of an adapter's tasks a row is of. */
    int task(Row row) {
        return TaskOfRow.of(row, config);
    }

    /** About how many characters a row has; one of no form is refused. */
    long characters(Row row) {
        return read(row).characters();
    }

    private LanguageRow read(Row row) {
        return LanguageRow.of(row, config, format.isThere());
    }

    /**
     * Encodes rows.
     *
     * @param trained whether the end token stands behind responses, and first tokens may count
     */
    List<EncodedRow> encode(List<Row> rows, TextTokenizer tokenizer, boolean trained) {
        TextTokenizer cutting =
                config.truncation() == null ? tokenizer : tokenizer.cutting(config.truncation() == Truncation.LEFT);
        Batch batch = new Batch(rows, cutting, trained);
        List<EncodedRow> encoded = new ArrayList<>(Arrays.asList(new EncodedRow[rows.size()]));
        batch.texts(encoded);
        batch.turns(encoded);
        batch.chats(encoded);
        for (int i = 0; i < rows.size(); i++) {
            if (config.truncation() == Truncation.REFUSE
                    && encoded.get(i).tokens().cut()) {
                throw rows.get(i)
                        .wrong("a row must have at most " + tokenizer.maxLength()
                                + " tokens (task.max_length), this one"
                                + " has more; take it out, or cut it (task.truncation: right or left)");
            }
        }
        return encoded;
    }

    /** Some rows, whose texts are tokenised together. */
    private final class Batch {
        private final List<Row> rows;
        private final TextTokenizer tokenizer;
        private final boolean trained;
        private final List<LanguageRow> said;

        Batch(List<Row> rows, TextTokenizer tokenizer, boolean trained) {
            this.rows = rows;
            this.tokenizer = tokenizer;
            this.trained = trained;
            said = rows.stream().map(RowEncoder.this::read).toList();
        }

        private List<Integer> are(Class<? extends LanguageRow> kind) {
            return IntStream.range(0, rows.size())
                    .filter(i -> kind.isInstance(said.get(i)))
                    .boxed()
                    .toList();
        }

        private IntFunction<String> where(List<Integer> places) {
            return i -> rows.get(places.get(i)).where();
        }

        private EncodedRow encoded(int place, String rendered, Tokens tokens, boolean[] counts) {
            return new EncodedRow(LanguageRow.form(rows.get(place), config), rendered, null, tokens, counts, "");
        }

        void texts(List<EncodedRow> into) {
            List<Integer> places = are(LanguageRow.Text.class);
            List<String> texts = places.stream()
                    .map(place -> ((LanguageRow.Text) said.get(place)).text())
                    .toList();
            List<Tokens> all = tokenizer.encode(texts, where(places));
            for (int i = 0; i < places.size(); i++) {
                Tokens tokens = all.get(i);
                into.set(places.get(i), encoded(places.get(i), texts.get(i), tokens, from(0, tokens)));
            }
        }

        /** The tokens from one on count; the first of all in training alone. */
        private boolean[] from(int first, Tokens tokens) {
            boolean[] counts = new boolean[tokens.tokens().length];
            Arrays.fill(counts, Math.min(counts.length, trained ? first : Math.max(1, first)), counts.length, true);
            return counts;
        }

        void turns(List<EncodedRow> into) {
            List<Integer> places = are(LanguageRow.Turn.class);
            List<LanguageRow.Turn> turns = places.stream()
                    .map(place -> (LanguageRow.Turn) said.get(place))
                    .toList();
            List<Tokens> prompts = tokenizer.encode(
                    turns.stream().map(LanguageRow.Turn::prompt).toList(), where(places));
            List<Tokens> responses = tokenizer.encodePlain(
                    turns.stream().map(LanguageRow.Turn::response).toList(), where(places));
            for (int i = 0; i < places.size(); i++) {
                LanguageRow.Turn turn = turns.get(i);
                into.set(
                        places.get(i),
                        joined(places.get(i), turn.prompt() + turn.response(), prompts.get(i), responses.get(i)));
            }
        }

        private EncodedRow joined(int place, String rendered, Tokens prompt, Tokens response) {
            IntStream ids = IntStream.concat(Arrays.stream(prompt.tokens()), Arrays.stream(response.tokens()));
            if (trained && tokenizer.specialId("eos").isPresent()) {
                ids = IntStream.concat(
                        ids, IntStream.of(tokenizer.specialId("eos").getAsInt()));
            }
            int[] all = ids.toArray();
            int first = config.lossOn() == LossOn.ALL ? 0 : prompt.tokens().length;
            boolean[] counts = from(first, new Tokens(all, null, false));
            boolean cut = prompt.cut() || response.cut() || all.length > tokenizer.maxLength();
            int begin = tokenizer.firstKept(all.length);
            int end = Math.min(all.length, begin + tokenizer.maxLength());
            return encoded(
                    place,
                    rendered,
                    new Tokens(Arrays.copyOfRange(all, begin, end), null, cut),
                    Arrays.copyOfRange(counts, begin, end));
        }

        void chats(List<EncodedRow> into) {
            List<Integer> places = are(LanguageRow.Chat.class);
            List<AssistantSpans> rendered = rendered(places);
            List<Placed> all = tokenizer.encodePlaced(
                    rendered.stream().map(AssistantSpans::text).toList(), where(places));
            for (int i = 0; i < places.size(); i++) {
                into.set(places.get(i), chat(places.get(i), rendered.get(i), all.get(i)));
            }
        }

        /** On all processors; what is wrong is told of the first row that it is wrong with. */
        private List<AssistantSpans> rendered(List<Integer> places) {
            List<Object> all = places.stream()
                    .parallel()
                    .map(place -> {
                        try {
                            return rendered(place);
                        } catch (ConfigException | IllegalArgumentException e) {
                            return rows.get(place).wrong(String.valueOf(e.getMessage()));
                        }
                    })
                    .toList();
            List<AssistantSpans> spans = new ArrayList<>();
            for (Object one : all) {
                if (one instanceof RuntimeException wrong) {
                    throw wrong;
                }
                spans.add((AssistantSpans) one);
            }
            return spans;
        }

        private Object rendered(int place) {
            LanguageRow.Chat chat = (LanguageRow.Chat) said.get(place);
            if (config.lossOn() == LossOn.ALL) {
                return new AssistantSpans(format.text(chat.conversation()), java.util.Optional.empty(), "");
            }
            return format.assistant(chat.conversation(), config.lossOn() == LossOn.LAST ? Turns.LAST : Turns.ALL);
        }

        private EncodedRow chat(int place, AssistantSpans rendered, Placed placed) {
            int[] ids = placed.tokens();
            boolean[] counts = counts(rendered, placed);
            int begin = tokenizer.firstKept(ids.length);
            int end = Math.min(ids.length, begin + tokenizer.maxLength());
            Tokens kept = new Tokens(Arrays.copyOfRange(ids, begin, end), null, ids.length > tokenizer.maxLength());
            if (counts != null && counts.length > 0 && !trained) {
                counts[begin] = false;
            }
            return new EncodedRow(
                    LanguageRow.form(rows.get(place), config),
                    rendered.text(),
                    format.template(((LanguageRow.Chat) said.get(place)).conversation()),
                    kept,
                    counts == null ? null : Arrays.copyOfRange(counts, begin, end),
                    rendered.reason());
        }

        private boolean @Nullable [] counts(AssistantSpans rendered, Placed placed) {
            if (config.lossOn() == LossOn.ALL) {
                boolean[] all = new boolean[placed.tokens().length];
                Arrays.fill(all, true);
                return all;
            }
            return rendered.spans()
                    .map(spans -> AssistantTokens.of(rendered.text(), placed, spans))
                    .orElse(null);
        }
    }
}
