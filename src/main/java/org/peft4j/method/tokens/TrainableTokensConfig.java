package org.peft4j.method.tokens;

import java.util.HashSet;
import java.util.List;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.Targets;

/**
 * Settings of trainable tokens: the rows of some tokens in the embedding table, which begin with the table's values.
 *
 * @param tokens numbers of the tokens, as the tokenizer gives them
 * @param targets tables: a list of names or suffixes, or a regular expression; the default is the table of the words
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 */
public record TrainableTokensConfig(List<Integer> tokens, Targets targets, List<String> modulesToSave)
        implements MethodConfig {
    public TrainableTokensConfig {
        tokens = List.copyOf(tokens);
        if (targets instanceof Targets.AllLinear) {
            throw new IllegalArgumentException(
                    "targets must name embedding tables, such as [word_embeddings], got 'all-linear'");
        }
        tokens.stream().filter(token -> token < 0).findFirst().ifPresent(token -> {
            throw new IllegalArgumentException("tokens must be numbers of the vocabulary, got " + token);
        });
        if (new HashSet<>(tokens).size() < tokens.size()) {
            throw new IllegalArgumentException("tokens must have each number once, got " + tokens);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    /** Without any token, which a run has to name. */
    public static TrainableTokensConfig defaults() {
        return new TrainableTokensConfig(List.of(), Targets.modelDefault(), List.of());
    }

    @Override
    public TrainableTokensConfig withModulesToSave(List<String> modules) {
        return new TrainableTokensConfig(tokens, targets, modules);
    }
}
