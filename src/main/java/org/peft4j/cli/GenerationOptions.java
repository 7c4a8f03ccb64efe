package org.peft4j.cli;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.peft4j.TextGenerator;
import org.peft4j.error.ConfigException;
import picocli.CommandLine.Option;

/** How texts are continued. What is not given is the default, or what the model's generation_config.json suggests. */
@SuppressWarnings("NullAway.Init") // picocli sets the fields
final class GenerationOptions {
    @Option(names = "--max-new-tokens", paramLabel = "N", description = "The most tokens of an answer (default 128).")
    private @Nullable Integer maxNewTokens;

    @Option(
            names = "--temperature",
            paramLabel = "T",
            description = "Draw tokens, with logits divided by this; 0 takes the likeliest (default 0).")
    private @Nullable Double temperature;

    @Option(
            names = "--top-k",
            paramLabel = "K",
            description = "Draw from the K likeliest tokens; 0: from all (default 0).")
    private @Nullable Integer topK;

    @Option(
            names = "--top-p",
            paramLabel = "P",
            description = "Draw from the likeliest tokens that have this probability together (default 1).")
    private @Nullable Double topP;

    @Option(
            names = "--min-p",
            paramLabel = "P",
            description =
                    "Draw from tokens that have at least this share of the likeliest one's probability (default 0).")
    private @Nullable Double minP;

    @Option(
            names = "--repetition-penalty",
            paramLabel = "X",
            description =
                    "Divide scores above 0 of tokens that are in the prompt or the answer by this, multiply those below"
                            + " (default 1: none).")
    private @Nullable Double repetitionPenalty;

    @Option(
            names = "--frequency-penalty",
            paramLabel = "X",
            description = "Take this from a token's score for each time that the answer has it (default 0).")
    private @Nullable Double frequencyPenalty;

    @Option(
            names = "--presence-penalty",
            paramLabel = "X",
            description = "Take this from the score of each token that the answer has (default 0).")
    private @Nullable Double presencePenalty;

    @Option(
            names = "--seed",
            paramLabel = "N",
            description = "Of the draws; each row and each of its answers has draws of its own (default 0).")
    private @Nullable Long seed;

    @Option(
            names = "--n",
            paramLabel = "N",
            description = "Answers for each prompt: drawn ones, or the best of --beams (default 1).")
    private @Nullable Integer n;

    @Option(
            names = "--beams",
            paramLabel = "N",
            description =
                    "Search with so many beams for the likeliest answer as a whole, as transformers' num_beams; 1: none"
                            + " (default 1).")
    private @Nullable Integer beams;

    @Option(
            names = "--length-penalty",
            paramLabel = "X",
            description =
                    "With --beams: answers are compared by the sum of log-probabilities over length^X; more prefers longer"
                            + " ones (default 1).")
    private @Nullable Double lengthPenalty;

    @Option(
            names = "--early-stopping",
            paramLabel = "WHEN",
            completionCandidates = StoppingNames.class,
            description =
                    "With --beams: when a search ends: yes (as many answers as beams), no (the best beam would not be among"
                            + " them now), never (no beam could ever be) (default no).")
    private @Nullable String earlyStopping;

    @Option(
            names = "--stop",
            paramLabel = "TEXT",
            description = "A text at which a continuation ends; may be repeated.")
    private @Nullable List<String> stop;

    @Option(
            names = "--log-probs",
            description =
                    "Add the natural logarithm of each token's probability, as the model gave it, before penalties,"
                            + " temperature and limits.")
    private boolean logProbs;

    @Option(
            names = "--generation-config",
            description =
                    "What is not given here is what the model's generation_config.json suggests, with transformers' defaults"
                            + " for what that leaves out.")
    private boolean suggested;

    @Option(
            names = "--cache-mb",
            paramLabel = "N",
            description =
                    "The most memory for keys and values, in 1,000,000 bytes; rows wait for it (default: four fifths of what"
                            + " the machine has beside the model).")
    private @Nullable Long cacheMegabytes;

    /** Why only the text of one answer is wanted; null if all is. */
    private @Nullable String textAlone;

    /**
     * Before the model is read, as far as that can be told.
     *
     * @param reason why only the text of one answer is wanted; null if all is
     */
    void check(@Nullable String reason) {
        textAlone = reason;
        if (!suggested) {
            TextGenerator.Options asked = with(TextGenerator.Options.defaults());
            asked.check();
            checkOutput(asked);
        } else {
            checkOutput(TextGenerator.Options.defaults());
        }
        if (cacheMegabytes != null && cacheMegabytes < 1) {
            throw new IllegalArgumentException("--cache-mb must be at least 1, got " + cacheMegabytes);
        }
    }

    private void checkOutput(TextGenerator.Options asked) {
        if (textAlone != null && (asked.n() > 1 || logProbs)) {
            throw new ConfigException((logProbs ? "--log-probs" : "--n " + asked.n()) + " " + textAlone);
        }
    }

    /** What is asked for, of a model. */
    TextGenerator.Options of(TextGenerator generator, int batchSize, Consumer<String> notes) throws IOException {
        TextGenerator.Options asked =
                with(suggested ? generator.suggestedOptions(notes) : TextGenerator.Options.defaults());
        asked.check();
        checkOutput(asked);
        asked = asked.withBatchSize(batchSize);
        return cacheMegabytes == null ? asked : asked.withCacheBytes(Math.multiplyExact(cacheMegabytes, 1_000_000L));
    }

    private TextGenerator.Options with(TextGenerator.Options defaults) {
        TextGenerator.Options asked = defaults;
        asked = maxNewTokens == null ? asked : asked.withMaxNewTokens(maxNewTokens);
        asked = temperature == null ? asked : asked.withTemperature(temperature);
        asked = topK == null ? asked : asked.withTopK(topK);
        asked = topP == null ? asked : asked.withTopP(topP);
        asked = minP == null ? asked : asked.withMinP(minP);
        asked = repetitionPenalty == null ? asked : asked.withRepetitionPenalty(repetitionPenalty);
        asked = frequencyPenalty == null ? asked : asked.withFrequencyPenalty(frequencyPenalty);
        asked = presencePenalty == null ? asked : asked.withPresencePenalty(presencePenalty);
        asked = seed == null ? asked : asked.withSeed(seed);
        asked = n == null ? asked : asked.withN(n);
        asked = stop == null ? asked : asked.withStop(stop);
        return searching(asked).withLogProbs(logProbs);
    }

    private TextGenerator.Options searching(TextGenerator.Options asked) {
        TextGenerator.Options searching = beams == null ? asked : asked.withBeams(beams);
        if (lengthPenalty != null) {
            searching = searching.withLengthPenalty(lengthPenalty);
        }
        if (earlyStopping != null) {
            searching = searching.withEarlyStopping(stopping(earlyStopping));
        }
        return searching;
    }

    private static TextGenerator.EarlyStopping stopping(String name) {
        if (!new StoppingNames().contains(name)) {
            throw new IllegalArgumentException(
                    "--early-stopping must be one of " + new StoppingNames() + ", got '" + name + "'");
        }
        return TextGenerator.EarlyStopping.valueOf(name.toUpperCase(Locale.ROOT));
    }

    /** For help and completion. */
    static final class StoppingNames extends ArrayList<String> {
        StoppingNames() {
            super(List.of("yes", "no", "never"));
        }
    }
}
