package org.peft4j.method.spi.bottleneck;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.SublayerUpdate;

/**
 * What stands at a sublayer in place of several bottlenecks: their residual and a mixture of what they add. All read the same rows and are
 * added to the same, as the last of them says; so does the library.
 *
 * @param experts in the order of the fusion's names, at least one
 * @param layer mixes what they add
 * @param queryBeforeLn whether the query is what the sublayer gives; else what the experts read
 */
public record Fused(List<Bottleneck> experts, FusionLayer layer, boolean queryBeforeLn) implements SublayerUpdate {
    public Fused {
        experts = List.copyOf(experts);
        if (experts.isEmpty()) {
            throw new IllegalArgumentException("experts must be at least one, got none");
        }
    }

    /** The same attention over others, in the same order of names. */
    public Fused withExperts(List<Bottleneck> others) {
        return new Fused(others, layer, queryBeforeLn);
    }

    @Override
    public Tensor apply(Sublayer at, ForwardContext context) {
        Bottleneck last = last();
        Tensor read = last.read(at);
        Tensor asking = (queryBeforeLn ? at.output() : read).to(ScalarType.Float);
        Tensor mixed = layer.mixed(
                asking, experts.stream().map(expert -> expert.up(read)).toList(), context);
        Tensor around = last.around(at, read);
        return around.add(mixed.to(around.scalar_type()));
    }

    @Override
    public boolean behindNorm() {
        return last().behindNorm();
    }

    private Bottleneck last() {
        return experts.get(experts.size() - 1);
    }
}
