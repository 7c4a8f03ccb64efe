package org.peft4j.train;

import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.peft4j.error.ConfigException;
import org.peft4j.model.HeadKind;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.task.Dataset;

/** Adapters that act from certain tokens of a text on (activated LoRA): whether the task has such texts, and the rows such tokens. */
final class InvokedTexts {
    private InvokedTexts() {}

    /** PEFT looks for the tokens in its class for language models alone; elsewhere such an adapter does nothing there. */
    static void check(HeadKind head, Adapter adapter) {
        if (head != HeadKind.LANGUAGE && !adapter.invocations().isEmpty()) {
            throw new ConfigException(
                    "an adapter with alora_invocation_tokens is for language models: task.type must be causal-lm;"
                            + " in other tasks PEFT leaves it without any effect. Leave the tokens out to train plain LoRA");
        }
    }

    /**
     * What to know of rows that train nothing.
     *
     * @throws ConfigException if all of them do
     */
    static Optional<String> note(Adapter adapter, Dataset<?> rows) {
        Set<List<Integer>> invocations = adapter.invocations();
        if (invocations.isEmpty()) {
            return Optional.empty();
        }
        List<int[]> texts = rows.examples().stream()
                .flatMap(example -> example.sequences().stream())
                .map(tokens -> tokens.tokens())
                .toList();
        long without = texts.stream()
                .filter(text -> invocations.stream().noneMatch(tokens -> ForwardContext.has(tokens, text)))
                .count();
        if (without == texts.size()) {
            throw new ConfigException(
                    "alora_invocation_tokens must occur in the rows that are trained on: the adapter acts from"
                            + " them on, but none of " + texts.size() + " rows has "
                            + invocations.iterator().next()
                            + "; words may have other tokens within a row than by themselves (peft4j show shows a row's tokens), and a"
                            + " row that is cut may have lost them");
        }
        return without == 0
                ? Optional.empty()
                : Optional.of(without + " of " + texts.size()
                        + " rows do not have the alora_invocation_tokens: the adapter does"
                        + " not act on them, and learns nothing from them");
    }
}
