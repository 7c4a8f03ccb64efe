package org.peft4j.method.cpt;

/** How the labels of the prompt's examples count beside the text's tokens. */
public enum LossWeights {
    /** As much as these. */
    NONE,
    /** The last example's by the factor lossDecay, the one before it by its square, and so on. */
    DECAY
}
