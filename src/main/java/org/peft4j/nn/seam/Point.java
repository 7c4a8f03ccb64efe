package org.peft4j.nn.seam;

/**
 * A place in a backbone where methods may act, known by its Hugging Face path.
 *
 * @param <C> what may be claimed there
 */
public sealed interface Point<C>
        permits LinearPoint,
                KeyValuePoint,
                SublayerPoint,
                BlockPoint,
                EmbeddingPoint,
                SequencePoint,
                TensorPoint,
                ExpertsPoint {
    String path();
}
