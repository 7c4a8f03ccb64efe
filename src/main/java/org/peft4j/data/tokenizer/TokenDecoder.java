package org.peft4j.data.tokenizer;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.tokenizer.DecodeStep.Sink;
import org.peft4j.error.ConfigException;

/**
 * Makes text of tokens, as the library and transformers do, without either: what one token after the other makes certain is
 * known here. Immutable and for any thread; a {@link Run} is for one.
 */
public final class TokenDecoder {
    private final Path file;
    private final Map<Integer, String> tokens = new HashMap<>();
    private final Set<String> special = new HashSet<>();
    private final List<DecodeStep> steps;
    private final boolean cleanUp;

    /**
     * @param model the judged model
     * @param added all added tokens
     * @param cleanUp whether transformers takes blanks away from the text
     */
    TokenDecoder(
            Path file,
            Map<String, @Nullable Object> model,
            Map<AddedToken, Integer> added,
            List<DecodeStep> steps,
            boolean cleanUp) {
        this.file = file;
        this.steps = steps;
        this.cleanUp = cleanUp;
        if (model.get("vocab") instanceof Map<?, ?> vocab) {
            vocab.forEach((token, id) -> tokens.put((Integer) id, (String) token));
        } else if (model.get("vocab") instanceof List<?> pieces) {
            for (Object piece : pieces) {
                tokens.put(tokens.size(), (String) ((List<?>) piece).get(0));
            }
        }
        added.forEach((token, id) -> {
            tokens.put(id, token.content());
            if (token.special()) {
                special.add(token.content());
            }
        });
    }

    /** The text of tokens. */
    public String decode(int[] ids, boolean skipSpecial) {
        Run run = new Run(skipSpecial);
        StringBuilder text = new StringBuilder();
        for (int id : ids) {
            text.append(run.add(id));
        }
        return text.append(run.end()).toString();
    }

    /** One text that grows. */
    public final class Run {
        private final boolean skipSpecial;
        private final StringBuilder certain = new StringBuilder();
        private final Sink first;

        /** @param skipSpecial whether special tokens give no text */
        public Run(boolean skipSpecial) {
            this.skipSpecial = skipSpecial;
            first = chain(new Sink() {
                @Override
                public void token(String token) {
                    certain.append(token);
                }

                @Override
                public void end() {
                    // all is there
                }
            });
        }

        /**
         * The text that is certain with this token.
         *
         * @throws ConfigException if the vocabulary has no such token
         */
        public String add(int id) {
            String token = tokens.get(id);
            if (token == null) {
                throw new ConfigException("no token has the number " + id + "; " + file + " has " + tokens.size()
                        + " tokens; does the tokenizer belong to this model?");
            }
            if (!skipSpecial || !special.contains(token)) {
                first.token(token);
            }
            return taken();
        }

        /** The rest of the text. To be called once, at the end. */
        public String end() {
            first.end();
            return taken();
        }

        private String taken() {
            String text = certain.toString();
            certain.setLength(0);
            return text;
        }
    }

    /** The steps in front of the last sink, from back to front. */
    private Sink chain(Sink last) {
        Sink sink = cleanUp ? Cleanup.ofPieces(last) : last;
        for (int i = steps.size() - 1; i >= 0; i--) {
            DecodeStep step = steps.get(i);
            boolean pieces = steps.subList(0, i).stream().anyMatch(DecodeStep::fuses);
            sink = step.before(sink, pieces && step.takesPieces());
            if (pieces && !step.takesPieces()) {
                sink = DecodeSteps.collected(sink);
            }
        }
        return sink;
    }
}
