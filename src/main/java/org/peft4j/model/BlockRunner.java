package org.peft4j.model;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.Block;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.ReadRows;

/**
 * Takes inputs through a model block by block, and a loss back. For one call forward and, in training, one back; then a new
 * one. {@link #plain} keeps what every block needs for its backward; {@link RecomputedBlocks} keeps the blocks' inputs alone.
 */
public interface BlockRunner {
    /** The rows that are read, behind {@link Model#finish}: [R, C]. */
    Tensor forward(Model model, Inputs inputs, ReadRows rows, ForwardContext context);

    /** Adds the gradients of the loss, one number, to all parameters that it depends on. */
    void backward(Tensor loss, ForwardContext context);

    /** Runs blocks one after the other. */
    static BlockRunner plain() {
        return new BlockRunner() {
            @Override
            public Tensor forward(Model model, Inputs inputs, ReadRows rows, ForwardContext context) {
                inputs.tell(context);
                return Scopes.scoped(() -> {
                    FirstPass.run(model, inputs, context);
                    Tensor h = model.embed(inputs, context);
                    List<Block> blocks = model.blocks();
                    for (int i = 0; i < blocks.size(); i++) {
                        Tensor in = h;
                        Block block = blocks.get(i);
                        ReadRows behind = i + 1 < blocks.size() ? ReadRows.ALL : rows;
                        h = Layers.forward(i, block, in, behind, context);
                        in.close();
                    }
                    Tensor finished = model.finish(h, rows.packing(context), context);
                    CardMemory.computed(model);
                    return finished;
                });
            }

            @Override
            public void backward(Tensor loss, ForwardContext context) {
                if (!loss.requires_grad() && context.mayActOnNoRow()) {
                    return; // nothing that is trained had a part in it
                }
                Layers.backward(() -> loss.backward());
                context.backward();
            }
        };
    }
}
