package org.peft4j.generate;

/** The text of new tokens. It may depend on the prompt: many tokenizers give a word's blank only behind other text. */
@FunctionalInterface
public interface Decoder {
    /** @param ids new tokens behind the prompt, from the first */
    String text(Prompt prompt, int[] ids);
}
