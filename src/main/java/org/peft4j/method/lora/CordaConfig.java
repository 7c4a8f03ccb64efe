package org.peft4j.method.lora;

/**
 * How {@link InitLora#CORDA} chooses; the name is that of Hugging Face PEFT's class.
 *
 * @param cordaMethod which singular values are trained
 */
public record CordaConfig(Choice cordaMethod) {
    /** Which singular values of W C are trained. */
    public enum Choice {
        /** The largest: what the rows need most (instruction-previewed mode). */
        IPM,
        /** The smallest: what the rows need most stays as it is (knowledge-preserved mode). */
        KPM
    }

    private static final CordaConfig DEFAULTS = new CordaConfig(Choice.IPM);

    /** The largest. */
    public static CordaConfig defaults() {
        return DEFAULTS;
    }
}
