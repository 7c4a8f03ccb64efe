package org.peft4j.method.iapt;

/** How the generators' second projections begin. */
public enum InitPrompt {
    /** With zeros: so do the soft tokens. Not quite without effect, because they take part of the softmax. */
    ZERO,
    /** Normal with standard deviation 0.02, as the other matrices. */
    NORMAL
}
