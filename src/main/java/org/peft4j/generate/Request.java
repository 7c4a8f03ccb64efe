package org.peft4j.generate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.TrainingException;

/** A prompt in an {@link Engine}, and its answers. Belongs to the engine's thread. */
public final class Request {
    private final Prompt prompt;
    private final GenerationSettings settings;
    private final int room;
    private final @Nullable Decoder decoder;
    private final GenerationListener listener;
    private final StopStrings stops;
    private final @Nullable Generated[] answers;
    private @Nullable TrainingException failure;
    private boolean done;

    /** @param room how many tokens can be new */
    Request(
            Prompt prompt,
            GenerationSettings settings,
            int room,
            @Nullable Decoder decoder,
            GenerationListener listener) {
        this.prompt = prompt;
        this.settings = settings;
        this.room = room;
        this.decoder = decoder;
        this.listener = listener;
        stops = new StopStrings(settings.stop());
        answers = new Generated[settings.answers().n()];
    }

    /** What is continued. */
    public Prompt prompt() {
        return prompt;
    }

    /** How. */
    public GenerationSettings settings() {
        return settings;
    }

    /** Whether it has all its answers, has failed, or was cancelled. */
    public boolean done() {
        return done;
    }

    /**
     * All answers; of a search the best first.
     *
     * @throws IllegalStateException if they are not there yet, or never will be because the request was cancelled
     * @throws TrainingException if it failed
     */
    public List<Generated> answers() {
        if (failure != null) {
            throw failure;
        }
        List<Generated> all = new ArrayList<>();
        for (Generated answer : answers) {
            if (answer == null) {
                throw new IllegalStateException(done ? "the request was cancelled" : "the request still goes on");
            }
            all.add(answer);
        }
        return all;
    }

    int room() {
        return room;
    }

    GenerationListener listener() {
        return listener;
    }

    /** Where the text of these tokens ends because a stop string begins, or -1. */
    int stop(int[] fresh) {
        return decoder == null || settings.stop().isEmpty() ? -1 : stops.find(decoder.text(prompt, fresh));
    }

    boolean ends(int token) {
        return settings.endTokens().contains(token);
    }

    /** Why an answer with these tokens ends, the newest not yet among them if it is an end token; null if it goes on. */
    Generated.@Nullable Reason reason(int[] fresh, boolean endToken) {
        if (endToken) {
            return Generated.Reason.END_TOKEN;
        }
        if (stop(fresh) >= 0) {
            return Generated.Reason.STOP_STRING;
        }
        return fresh.length >= room ? Generated.Reason.LENGTH : null;
    }

    /** @param logProbs of the ids, those behind them are left out */
    void answer(int number, int[] ids, double[] logProbs, Generated.Reason reason) {
        String text = decoder == null ? null : decoder.text(prompt, ids);
        int cut = reason == Generated.Reason.STOP_STRING ? stop(ids) : -1;
        Generated generated = new Generated(
                ids,
                text == null || cut < 0 ? text : text.substring(0, cut),
                reason,
                settings.logProbs() ? Arrays.copyOf(logProbs, ids.length) : null);
        answers[number] = generated;
        listener.done(number, generated);
    }

    void finish() {
        done = true;
    }

    void fail(TrainingException reason) {
        failure = reason;
        done = true;
        listener.failed(reason);
    }
}
