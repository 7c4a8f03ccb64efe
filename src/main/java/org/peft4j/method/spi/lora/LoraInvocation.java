package org.peft4j.method.spi.lora;

import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.nn.seam.EmbeddingPoint;
import org.peft4j.nn.seam.Points;

/** Activated LoRA (aLoRA): the tokens from which on an adapter acts. */
final class LoraInvocation {
    private LoraInvocation() {}

    /**
     * The settings with the tokens in place of the text.
     *
     * @param encode the tokens of a text, no special ones among them
     */
    static LoraConfig inTokens(LoraConfig config, Function<String, List<Integer>> encode) {
        if (config.aloraInvocation().isEmpty()) {
            return config;
        }
        List<Integer> tokens = encode.apply(config.aloraInvocation());
        if (tokens.isEmpty()) {
            throw new IllegalArgumentException(
                    "alora_invocation must have at least one token, but the tokenizer makes none of '"
                            + config.aloraInvocation() + "'");
        }
        List<Integer> said = config.aloraInvocationTokens();
        if (!said.isEmpty() && !said.equals(tokens)) {
            throw new IllegalArgumentException("alora_invocation_tokens must be those of alora_invocation, " + tokens
                    + ", or be left out; got " + said);
        }
        return config.toBuilder()
                .aloraInvocation("")
                .aloraInvocationTokens(tokens)
                .build();
    }

    /** Refuses tokens that are none of the model's, and a text whose tokens nobody has found out. */
    static void check(LoraConfig config, Points points) {
        if (!config.aloraInvocation().isEmpty()) {
            throw new IllegalArgumentException(
                    "alora_invocation must be told in tokens (alora_invocation_tokens), which a run with"
                            + " a tokenizer does; got '" + config.aloraInvocation() + "'");
        }
        Optional<Long> vocabulary = points.all(EmbeddingPoint.class).stream()
                .filter(EmbeddingPoint::words)
                .map(EmbeddingPoint::rows)
                .findFirst();
        for (int token : config.aloraInvocationTokens()) {
            if (vocabulary.isPresent() && token >= vocabulary.get()) {
                throw new IllegalArgumentException("alora_invocation_tokens must be below " + vocabulary.get()
                        + ", the rows of the model's table of words, got " + token);
            }
        }
    }

    /** Why such an adapter is not merged, and so is not converted; empty if it can be. */
    static Optional<String> mergeRefusal(LoraConfig config) {
        if (config.activated()) {
            return Optional.of(
                    "it acts from its invocation on alone (alora_invocation_tokens), a merged weight on all rows");
        }
        return config.layerReplication().isNone()
                ? Optional.empty()
                : Optional.of(
                        "layers of its model share their weights (layer_replication), and each has an update of its own");
    }
}
