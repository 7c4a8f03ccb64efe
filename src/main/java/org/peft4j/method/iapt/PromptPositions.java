package org.peft4j.method.iapt;

/** Where soft tokens stand. */
public enum PromptPositions {
    /** At the positions 0, 1, …; those of the text begin behind them. */
    SHIFT,
    /** Nowhere: no rotation turns their keys, and the text's positions begin with 0. */
    NONE
}
