package org.peft4j.model.decoder;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.ExpertsPoint;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Packing;

/** What a block does with each row by itself. */
interface DecoderMlp extends AutoCloseable {
    /** @param x normed rows, [R, C] */
    Tensor forward(Tensor x, Packing rows, ForwardContext context);

    List<LinearPoint> linearPoints();

    /** Where updates of experts are read. */
    default List<ExpertsPoint> expertsPoints() {
        return List.of();
    }

    /** Module that the sublayer ends in. */
    String outputPath();

    @Override
    void close();
}
