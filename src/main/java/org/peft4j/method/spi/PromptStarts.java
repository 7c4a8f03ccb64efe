package org.peft4j.method.spi;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.PromptInit;
import org.peft4j.method.PromptStart;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.Seeds;
import org.peft4j.nn.seam.SequencePoint;
import org.peft4j.random.SplitMix64;

/** How the rows of a prompt begin: the tensors, and what files say of it. */
public final class PromptStarts {
    private static final String INIT = "prompt_tuning_init";
    /** Key of the words. */
    static final String TEXT = "prompt_tuning_init_text";

    /** The keys of PEFT's configs about it. */
    public static final ConfigKeys KEYS = ConfigKeys.of(PeftKeys.LIBRARY)
            .harmless("how the rows began, which the file's tensor replaces", INIT)
            .harmless("the words that the rows began with", TEXT)
            .harmless(
                    "the tokenizer of the words that the rows began with", "tokenizer_name_or_path", "tokenizer_kwargs")
            .build();

    /** Settings that PEFT calls otherwise. */
    public static final Map<String, String> RENAMED =
            Map.of("num_virtual_tokens", "virtual_tokens", INIT, "init", TEXT, "init_text");

    private PromptStarts() {}

    /**
     * The same start with the tokens of its text.
     *
     * @param encode the tokens of a text, special ones included
     * @throws IllegalArgumentException if the text has no tokens, or others than those that are said beside it
     */
    public static PromptStart inTokens(PromptStart start, Function<String, List<Integer>> encode) {
        if (start.initText().isEmpty()) {
            return start;
        }
        List<Integer> tokens = encode.apply(start.initText());
        if (tokens.isEmpty()) {
            throw new IllegalArgumentException(
                    "init_text must have at least one token, but the tokenizer makes none of '" + start.initText()
                            + "'");
        }
        if (!start.initTokens().isEmpty() && !start.initTokens().equals(tokens)) {
            throw new IllegalArgumentException("init_tokens must be those of init_text, " + tokens + ", or be left out;"
                    + " got " + start.initTokens());
        }
        return start.withTokens(tokens);
    }

    /**
     * The first rows, [count, C] float32.
     *
     * @param path of the parameter
     * @throws IllegalArgumentException if the start is a text whose tokens nobody has found out, or one of them is none of the model's
     */
    public static Tensor rows(PromptStart start, int count, Points points, long seed, String path) {
        SequencePoint front = SoftPrompt.point(points);
        return switch (start.init()) {
            case RANDOM -> Init.normal(seed, path, 1, count, front.width());
            case SAMPLE_VOCAB -> {
                SplitMix64 random = new SplitMix64(Seeds.mix(seed, path));
                long[] tokens = Stream.generate(() -> random.below(front.words().rows()))
                        .limit(count)
                        .mapToLong(Long::longValue)
                        .toArray();
                yield embedded(tokens, front, points);
            }
            case TEXT ->
                embedded(repeated(start.initTokens(), count, front.words().rows()), front, points);
        };
    }

    private static long[] repeated(List<Integer> tokens, int count, long vocabulary) {
        if (tokens.isEmpty()) {
            throw new IllegalArgumentException(
                    "init_tokens must have the tokens of init_text where no tokenizer is at hand, got none");
        }
        long[] repeated = new long[count];
        for (int i = 0; i < count; i++) {
            repeated[i] = tokens.get(i % tokens.size());
            if (repeated[i] >= vocabulary) {
                throw new IllegalArgumentException("init_tokens must be below " + vocabulary
                        + ", the rows of the model's embedding table, got " + repeated[i]);
            }
        }
        return repeated;
    }

    /** Rows of the model's table, as the first layer sees them, float32. */
    public static Tensor embedded(long[] tokens, SequencePoint front, Points points) {
        Tensor table = points.tensors().get(front.words().path() + ".weight").value();
        Tensor rows = table.index_select(0, Tensors.ofLongs(points.device(), tokens, tokens.length));
        if (front.scale() != 1) { // rounded to the table's type first, as transformers does
            rows = rows.mul(torch.full(
                    new long[0], new Scalar(front.scale()), points.device().options(rows.scalar_type())));
        }
        return rows.to(ScalarType.Float);
    }

    /** The start that a file tells of; random where it does not say a text that it began with. */
    public static PromptStart read(PeftConfigReader config) throws MalformedFileException {
        String text = config.text(TEXT);
        String init = String.valueOf(config.get(INIT)).toUpperCase(Locale.ROOT);
        if (init.equals(PromptInit.TEXT.name()) && text != null && !text.isBlank()) {
            return PromptStart.text(text);
        }
        return init.equals(PromptInit.SAMPLE_VOCAB.name()) ? PromptStart.sampled() : PromptStart.RANDOM;
    }

    /** What PEFT writes of it, but for the tokenizer's place, which {@link AdapterStore} knows. */
    public static void write(PromptStart start, Map<String, @Nullable Object> file) {
        boolean unspoken =
                start.init() == PromptInit.TEXT && start.initText().isEmpty(); // PEFT has no tokens without text
        file.put(INIT, unspoken ? PromptInit.RANDOM.name() : start.init().name());
        file.put(TEXT, start.initText().isEmpty() ? null : start.initText());
        file.put("tokenizer_kwargs", null);
        file.put(AdapterStore.TOKENIZER, null);
    }
}
