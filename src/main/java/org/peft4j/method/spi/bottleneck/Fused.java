package org.peft4j.method.spi.bottleneck;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.SublayerAddition;
import org.peft4j.nn.seam.SublayerFusion;

/**
 * What stands at a sublayer in place of several bottlenecks: their residual and a mixture of what they add. All read the same rows and are
 * added to the same.
 *
 * @param names in the order of the experts
 * @param experts at least one; all have the same place
 * @param layer mixes what they add
 * @param queryBeforeLn whether the query is what the sublayer gives; else what the experts read
 */
record Fused(List<String> names, List<SublayerAddition> experts, FusionLayer layer, boolean queryBeforeLn)
        implements SublayerFusion {
    Fused {
        names = List.copyOf(names);
        experts = List.copyOf(experts);
        if (experts.isEmpty() || experts.size() != names.size()) {
            throw new IllegalArgumentException("experts must be " + names + ", got " + experts.size());
        }
        checkPlace(experts, experts.get(0));
    }

    private static void checkPlace(List<SublayerAddition> experts, SublayerAddition like) {
        for (SublayerAddition expert : experts) {
            if (!expert.place().equals(like.place())) {
                throw new IllegalArgumentException("experts must read the same rows and be added to the same, "
                        + like.place() + ", got " + expert.place());
            }
        }
    }

    @Override
    public SublayerFusion withExperts(List<? extends SublayerAddition> others) {
        Fused fused = new Fused(names, List.copyOf(others), layer, queryBeforeLn);
        checkPlace(fused.experts, experts.get(0));
        return fused;
    }

    @Override
    public Tensor apply(Sublayer at, ForwardContext context) {
        SublayerAddition any = experts.get(0);
        Tensor read = any.read(at);
        Tensor asking = (queryBeforeLn ? at.output() : read).to(ScalarType.Float);
        List<Tensor> ups =
                experts.stream().map(expert -> expert.added(at, read)).toList();
        Tensor around = any.around(at, read);
        return around.add(layer.mixed(asking, ups, context).to(around.scalar_type()));
    }

    @Override
    public boolean behindNorm() {
        return experts.get(0).behindNorm();
    }
}
