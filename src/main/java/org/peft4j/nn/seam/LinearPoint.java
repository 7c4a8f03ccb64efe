package org.peft4j.nn.seam;

/**
 * A linear layer {@code y = W x + b}. {@link LinearClaim} says what may be claimed.
 *
 * @param path such as {@code bert.encoder.layer.0.attention.self.query}
 * @param in columns of W
 * @param out rows of W
 * @param head whether it is the task's output layer, which "all linear layers" leaves out
 */
public record LinearPoint(String path, long in, long out, boolean head) implements Point<LinearClaim> {}
