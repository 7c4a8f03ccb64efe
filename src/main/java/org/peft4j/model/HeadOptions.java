package org.peft4j.model;

/**
 * How a head is made.
 *
 * @param outputs numbers that it gives for each sequence or row; of no meaning for a language model and for none
 * @param anew make it anew whatever head the directory has; else one of another size is refused
 */
public record HeadOptions(int outputs, boolean anew) {
    /** With the directory's head, if it has one. */
    public static HeadOptions of(int outputs) {
        return new HeadOptions(outputs, false);
    }
}
