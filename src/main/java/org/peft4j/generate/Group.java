package org.peft4j.generate;

import java.util.List;

/** The sequences of a request that is being answered. */
abstract class Group {
    final Request request;
    final Cache cache;
    final Cache.Need need;
    private long owned;

    /** Takes the room that it needs. */
    Group(Request request, Cache cache, Cache.Need need) {
        this.request = request;
        this.cache = cache;
        this.need = need;
        cache.enter(need);
        owned = need.own();
    }

    static Group of(Request request, Cache cache, Cache.Need need) {
        return request.settings().answers().search() == null
                ? new Draws(request, cache, need)
                : new Beams(request, cache, need);
    }

    /** Those that go on, each with a token to be read; first one alone, with the prompt. */
    abstract List<Sequence> going();

    /** The most sequences that there can still be at once. */
    abstract int width();

    /**
     * Chooses tokens.
     *
     * @param logits behind each of {@link #going}, in its order; they may be changed
     */
    abstract void take(List<float[]> logits);

    /** Gives a sequence's own blocks to others. */
    final void free(Sequence sequence) {
        cache.close(sequence.place());
    }

    /** So many sequences fewer can there be. */
    final void narrow(int by) {
        cache.blocks().giveBack(by * need.each());
        owned -= by * need.each();
    }

    /** Frees all. */
    final void leave() {
        going().forEach(this::free);
        cache.leave(need, owned);
    }
}
