package org.peft4j.method.lokr;

/** Which factor of LoKr's product begins with zeros; a new adapter changes nothing either way. */
public enum InitLoKr {
    /** The first one: PEFT's {@code init_weights: true}. */
    FIRST_ZERO,
    /** The second one, as LyCORIS has it: PEFT's {@code "lycoris"}. */
    LYCORIS
}
