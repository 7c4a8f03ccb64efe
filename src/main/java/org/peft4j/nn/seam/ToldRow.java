package org.peft4j.nn.seam;

/**
 * An inserted row that stands for a token which a language model is to tell from the row before it, as those of the text.
 *
 * @param row its number among the rows that are inserted, from 1: nothing tells the first
 * @param token which it is
 * @param weight of its loss; a token of the text has 1
 */
public record ToldRow(int row, int token, double weight) {}
