package org.peft4j.model;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.Block;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Points;
import org.peft4j.ops.Device;

/**
 * The frozen part that all tasks and adapters share: embeddings, blocks, final norm; without any head. Immutable, safe from
 * many threads until closed. {@link BlockRunner} puts the parts together.
 */
public interface Model extends AutoCloseable {
    ModelInfo info();

    /** Where it computes: its tensors, and all that meet them, are there. */
    Device device();

    /** Where methods may act, heads not counted ({@link Head#points}). */
    Points points();

    /** What a user should know about the model's files. */
    default List<String> notes() {
        return List.of();
    }

    /**
     * What goes into the first block.
     *
     * @return [T, C] in the type of the activations
     * @throws IllegalArgumentException if the inputs do not fit the context's packing or the model's vocabulary or
     *     positions; the message names the sequence
     */
    Tensor embed(Inputs inputs, ForwardContext context);

    /** The blocks, first to last. */
    List<Block> blocks();

    /**
     * What comes behind the last block: a norm, or nothing.
     *
     * @param h rows that are read, [R, C]
     * @param rows how they lie
     */
    Tensor finish(Tensor h, Packing rows, ForwardContext context);

    /**
     * Which rows a sequence of this many positions has: as long as the version is the same, rows stay what they are when their
     * sequence grows, so that keys and values can be kept. With another version all of its rows are other ones.
     */
    default long rowsVersion(long positions) {
        return 0;
    }

    /** What transformers puts behind this model for a kind of output; empty if it has no such class. */
    Optional<HeadLayout> headLayout(HeadKind kind);

    /**
     * Makes a head behind this model, with the directory's tensors where it has them.
     *
     * @throws org.peft4j.error.ConfigException if the family has no such head
     * @throws org.peft4j.error.MalformedFileException if the directory's head is of another size than asked for
     */
    Head head(HeadKind kind, HeadOptions options);

    /**
     * The same model with other frozen tensors in place of its own and its heads', by path: a merged adapter. This one stays
     * as it is and both must be closed.
     */
    Model withTensors(Map<String, Tensor> changed);

    @Override
    void close();
}
