package org.peft4j.generate;

import org.peft4j.error.TrainingException;

/** Told of what is generated for a prompt while it is; on the thread that generates. */
public interface GenerationListener {
    /** Tells nobody. */
    GenerationListener NONE = new GenerationListener() {};

    /**
     * A new token; the end token is not told. A search tells the tokens of its answers when it has ended.
     *
     * @param answer number of the answer, from 0
     */
    default void token(int answer, int id) {}

    /** An answer is there. */
    default void done(int answer, Generated generated) {}

    /** The prompt cannot be continued; nothing else is told of it. Others are not concerned unless this throws. */
    default void failed(TrainingException reason) {
        throw reason;
    }

    /** Something that a user should know. */
    default void note(String text) {}
}
