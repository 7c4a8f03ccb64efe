package org.peft4j.generate;

import java.util.List;
import java.util.stream.Stream;
import org.peft4j.error.ConfigException;

/**
 * How texts are continued.
 *
 * @param maxNewTokens the most tokens that are generated for an answer
 * @param sampling how a token is chosen; of a search its penalties alone, which then work on log-probabilities, as in
 *     transformers
 * @param answers how many continuations a prompt gets, and how they are found
 * @param stop texts at which generation ends; they are no part of the result, wherever tokens begin and end
 * @param endTokens tokens at which it ends, no part of the result either; see
 *     {@link org.peft4j.model.GenerationDefaults}
 * @param logProbs whether the tokens' log-probabilities are wanted
 */
public record GenerationSettings(
        int maxNewTokens,
        Sampling sampling,
        Answers answers,
        List<String> stop,
        List<Integer> endTokens,
        boolean logProbs) {
    public GenerationSettings {
        if (maxNewTokens < 1) {
            throw new ConfigException("max_new_tokens must be at least 1, got " + maxNewTokens);
        }
        stop = List.copyOf(stop);
        endTokens = endTokens.stream().distinct().toList();
        if (stop.contains("")) {
            throw new ConfigException(
                    "a stop string must have at least one character: the empty one would stop at once;"
                            + " leave it out");
        }
    }

    /** One answer, without log-probabilities. */
    public GenerationSettings(int maxNewTokens, Sampling sampling, List<String> stop, List<Integer> endTokens) {
        this(maxNewTokens, sampling, Answers.ONE, stop, endTokens, false);
    }

    /** The same with further ends. */
    public GenerationSettings alsoEnding(List<Integer> tokens, List<String> texts) {
        return new GenerationSettings(
                maxNewTokens,
                sampling,
                answers,
                Stream.concat(stop.stream(), texts.stream()).distinct().toList(),
                Stream.concat(endTokens.stream(), tokens.stream()).toList(),
                logProbs);
    }

    /**
     * Refuses what makes no sense together, each by itself being right.
     *
     * @throws ConfigException that names it
     */
    public void checkTogether() {
        if (answers.search() == null) {
            if (answers.n() > 1 && sampling.greedy()) {
                throw new ConfigException("n must be 1 where the likeliest tokens are taken, got " + answers.n()
                        + ": all answers would be the same; set temperature above 0 to draw them, or num_beams to"
                        + " search for them");
            }
            return;
        }
        refuse("temperature", !sampling.greedy());
        refuse("top_k", sampling.topK() > 0);
        refuse("top_p", sampling.topP() < 1);
        refuse("min_p", sampling.minP() > 0);
        if (answers.n() > answers.search().beams()) {
            throw new ConfigException("n must be at most num_beams, which is "
                    + answers.search().beams() + ", got " + answers.n()
                    + ": a search has no more answers than beams");
        }
    }

    private static void refuse(String name, boolean there) {
        if (there) {
            throw new ConfigException(
                    name + " beside num_beams: a search draws nothing, it keeps the likeliest; leave one of them out");
        }
    }
}
