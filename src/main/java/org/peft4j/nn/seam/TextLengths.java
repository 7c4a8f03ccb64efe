package org.peft4j.nn.seam;

import org.peft4j.error.ConfigException;

/** Whether texts are as long as an adapter needs them that acts on ranges of whole texts ({@link Adapter#textLength}). */
public final class TextLengths {
    private TextLengths() {}

    static void check(Packing text, ForwardContext.Segment segment, boolean goesOn) {
        for (Adapter adapter : segment.adapters()) {
            if (adapter.textLength() > 0 && goesOn) {
                throw growing(adapter);
            }
            for (int s = segment.first(); adapter.textLength() > 0 && s < segment.last(); s++) {
                check(adapter, text.length(s), "sequence " + s);
            }
        }
    }

    /**
     * Refuses a text of another length.
     *
     * @param where names it for the message
     * @throws ConfigException naming the adapter
     */
    public static void check(Adapter adapter, int tokens, String where) {
        if (adapter.textLength() > 0 && tokens != adapter.textLength()) {
            throw new ConfigException(
                    where + " has " + tokens + " tokens, special ones included, but '" + adapter.name()
                            + "' splits texts of " + adapter.textLength()
                            + " (the sum of its sizes); give texts of that length,"
                            + " or other sizes");
        }
    }

    /** What is said where texts would grow. */
    public static ConfigException growing(Adapter adapter) {
        return new ConfigException("'" + adapter.name() + "' splits texts of " + adapter.textLength()
                + " tokens into ranges, so it cannot go on with a text token by token; generate with a composition"
                + " without Split (score and answer take it)");
    }
}
