package org.peft4j.nn.seam;

/** What may happen at an {@link EmbeddingPoint}. */
public sealed interface EmbeddingClaim permits TokenRows, EmbeddingUpdate {}
