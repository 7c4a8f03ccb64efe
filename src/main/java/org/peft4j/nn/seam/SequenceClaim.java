package org.peft4j.nn.seam;

/** What may happen at a {@link SequencePoint}. */
public sealed interface SequenceClaim permits InsertedRows, PositionUpdate, EmbeddedUpdate {}
