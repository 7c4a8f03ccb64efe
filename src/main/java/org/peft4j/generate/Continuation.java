package org.peft4j.generate;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.Adapter;

/** A prompt on its way: what is new so far, and whether it goes on. */
final class Continuation {
    private final int index;
    private final Prompt prompt;
    private final GenerationSettings settings;
    private final int room;
    private final @Nullable Decoder decoder;
    private final StopStrings stops;
    private final Sampler sampler;
    private int[] ids = new int[16];
    private int length;
    private @Nullable Generated result;

    /** @param room how many tokens can be new */
    Continuation(int index, Prompt prompt, GenerationSettings settings, int room, @Nullable Decoder decoder) {
        this.index = index;
        this.prompt = prompt;
        this.settings = settings;
        this.room = room;
        this.decoder = decoder;
        stops = new StopStrings(settings.stop());
        sampler = new Sampler(settings.sampling(), Generator.seed(settings.sampling(), prompt.number()));
    }

    int index() {
        return index;
    }

    Prompt prompt() {
        return prompt;
    }

    int room() {
        return room;
    }

    boolean done() {
        return result != null;
    }

    Generated result() {
        if (result == null) {
            throw new IllegalStateException("the prompt still goes on");
        }
        return result;
    }

    /** All tokens. */
    int[] whole() {
        int[] whole = Arrays.copyOf(prompt.ids(), prompt.ids().length + length);
        System.arraycopy(ids, 0, whole, prompt.ids().length, length);
        return whole;
    }

    /** The token that the model has not read. */
    int[] newest() {
        return new int[] {ids[length - 1]};
    }

    /** Positions up to the newest token. */
    long position() {
        Adapter adapter = prompt.adapter();
        return (adapter == null ? 0L : adapter.positions()) + prompt.ids().length + length;
    }

    /** Chooses a token, and ends where there is a reason. */
    void take(float[] logits, GenerationListener listener) {
        int token = sampler.next(logits);
        if (settings.endTokens().contains(token)) {
            end(Generated.Reason.END_TOKEN, -1, listener);
            return;
        }
        if (length == ids.length) {
            ids = Arrays.copyOf(ids, 2 * length);
        }
        ids[length++] = token;
        listener.token(index, token);
        int stop = decoder == null || settings.stop().isEmpty() ? -1 : stops.find(decoder.text(prompt, taken()));
        if (stop >= 0) {
            end(Generated.Reason.STOP_STRING, stop, listener);
        } else if (length == room) {
            end(Generated.Reason.LENGTH, -1, listener);
        }
    }

    private int[] taken() {
        return Arrays.copyOf(ids, length);
    }

    /** @param cut where the text ends, or -1: behind the last token */
    private void end(Generated.Reason reason, int cut, GenerationListener listener) {
        String text = decoder == null ? null : decoder.text(prompt, taken());
        Generated generated = new Generated(taken(), text == null || cut < 0 ? text : text.substring(0, cut), reason);
        result = generated;
        listener.done(index, generated);
    }
}
