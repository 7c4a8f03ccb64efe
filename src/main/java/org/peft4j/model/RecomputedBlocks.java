package org.peft4j.model;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorArrayRefOptional;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.Block;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.ReadRows;

/**
 * Activation checkpointing: the forward keeps the input of each block and nothing else, the backward computes a block again
 * just before it needs what is inside. Seeds of dropout are counters, so a block computed again gives the same bits, and so
 * do the gradients.
 *
 * @see <a href="https://arxiv.org/abs/1604.06174">Training Deep Nets with Sublinear Memory Cost</a>
 */
public final class RecomputedBlocks implements BlockRunner, AutoCloseable {
    private final List<Tensor> inputs = new ArrayList<>();
    private @Nullable Tensor embedded; // with its graph, if something in it is trained
    private @Nullable Tensor last;
    private @Nullable Model model;
    private ReadRows rows = ReadRows.ALL;

    @Override
    public Tensor forward(Model of, Inputs in, ReadRows read, ForwardContext context) {
        model = of;
        rows = read;
        in.tell(context);
        FirstPass.run(of, in, context);
        embedded = Scopes.owned(() -> of.embed(in, context));
        inputs.add(Scopes.owned(() -> embedded.detach()));
        try (NoGradGuard noGrad = new NoGradGuard()) {
            for (int i = 0; i < of.blocks().size(); i++) {
                Tensor h = inputs.get(i);
                Block block = of.blocks().get(i);
                ReadRows behind = i + 1 < of.blocks().size() ? ReadRows.ALL : read;
                int layer = i;
                inputs.add(Scopes.owned(() -> Layers.forward(layer, block, h, behind, context)));
            }
        }
        last = inputs.remove(inputs.size() - 1).set_requires_grad(true);
        Tensor finished = of.finish(last, read.packing(context), context);
        CardMemory.computed(of);
        return finished;
    }

    @Override
    public void backward(Tensor loss, ForwardContext context) {
        Layers.backward(() -> loss.backward());
        if (model == null || last == null || embedded == null) {
            throw new IllegalStateException("backward needs a forward before it");
        }
        Tensor gradient = last.grad();
        for (int i = inputs.size() - 1; i >= 0 && gradient.defined(); i--) {
            boolean needed = i > 0 || embedded.requires_grad();
            Tensor g = gradient;
            Block block = model.blocks().get(i);
            ReadRows behind = i + 1 < inputs.size() ? ReadRows.ALL : rows;
            Tensor input = inputs.get(i).set_requires_grad(needed);
            Layers.backward(i, () -> {
                try (PointerScope scope = new PointerScope()) {
                    Tensor output = Layers.read(block, input, behind, context);
                    if (output.requires_grad()) {
                        output.backward(g, new BoolOptional(), false, new TensorArrayRefOptional());
                    }
                }
            });
            gradient = input.grad();
        }
        if (embedded.requires_grad() && gradient.defined()) {
            embedded.backward(gradient, new BoolOptional(), false, new TensorArrayRefOptional());
        }
        context.backward();
    }

    @Override
    public void close() {
        inputs.forEach(Tensor::close);
        inputs.clear();
        if (embedded != null) {
            embedded.close();
        }
        if (last != null) {
            last.close();
        }
    }
}
