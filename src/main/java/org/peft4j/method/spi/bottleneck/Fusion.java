package org.peft4j.method.spi.bottleneck;

import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.method.spi.AdapterStore;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.StepHook;

/** What an adapter of AdapterFusion has beside its claims: the experts, which it owns, and the regularization of its layers. */
final class Fusion implements StepHook {
    private final FusionExperts experts;
    private final List<FusionLayer> regularized;

    /** @param regularized the layers whose W_v stays near to the identity; empty: none */
    Fusion(FusionExperts experts, List<FusionLayer> regularized) {
        this.experts = experts;
        this.regularized = List.copyOf(regularized);
    }

    /** That of an adapter; empty if it is none of AdapterFusion. */
    static Optional<Fusion> of(Adapter adapter) {
        return adapter.hooks().stream()
                .filter(Fusion.class::isInstance)
                .map(Fusion.class::cast)
                .findFirst();
    }

    /** The experts, in the order of the attention; they are the adapter's. */
    List<AdapterStore.Loaded> experts() {
        return experts.all();
    }

    @Override
    public Optional<Tensor> penalty() {
        return regularized.stream()
                .map(FusionLayer::penalty)
                .filter(Objects::nonNull)
                .reduce(Tensor::add);
    }

    @Override
    public void close() {
        experts.close();
    }
}
