package org.peft4j.model;

import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Packing;
import org.peft4j.nn.seam.Points;
import org.peft4j.nn.seam.ReadRows;

/**
 * What stands behind a model for one task. It belongs to who asked for it: two adapters with 2 and 5 classes have a head each
 * over one model. Its tensors may be replaced by an adapter, as any. Immutable, safe from many threads until closed; must be
 * closed before its model.
 */
public interface Head extends AutoCloseable {
    /** Where methods may act in it; {@link Points#fresh} names what the model directory does not have. */
    Points points();

    /** The rows that it reads. */
    ReadRows reads();

    /**
     * The rows that it reads of these inputs, where their tokens have a say.
     *
     * @param text how the texts' own rows lie
     */
    default ReadRows reads(Inputs inputs, Packing text) {
        return reads();
    }

    /**
     * @param h the read rows behind {@link Model#finish}, [R, C]
     * @param rows how they lie
     * @return [R, outputs], float32
     */
    Tensor forward(Tensor h, Packing rows, ForwardContext context);

    @Override
    void close();
}
