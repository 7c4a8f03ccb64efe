package org.peft4j.generate;

/** Told of what is generated while it is; on the thread that generates. */
public interface GenerationListener {
    /** Tells nobody. */
    GenerationListener NONE = new GenerationListener() {};

    /**
     * A new token; the end token is not told.
     *
     * @param prompt index of the prompt it continues
     */
    default void token(int prompt, int id) {}

    /** A prompt has its continuation. */
    default void done(int prompt, Generated generated) {}

    /** Something that a user should know. */
    default void note(String text) {}
}
