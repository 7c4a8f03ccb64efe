package org.peft4j.method.spi.lora;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import org.peft4j.nn.seam.InputUpdate;

/**
 * What linear layers read, once for each x: layers that read the same one (query, key and value of a block) share what is seen of it.
 * Which those are shows in the first batch.
 *
 * @param <S> what is kept of an x
 */
final class SeenInputs<S> {
    /**
     * One x of every forward.
     *
     * @param sites the layers that read it, in the model's order
     */
    record Input<S>(List<LoraSite> sites, S seen) {}

    /** Takes a batch's x, [T, in]. */
    @FunctionalInterface
    interface Sight<S> {
        void of(Input<S> input, Tensor x);
    }

    private final Function<LoraSite, S> maker;
    private final Sight<S> sight;
    private final Map<String, Input<S>> byPath = new LinkedHashMap<>();
    private final List<Input<S>> inputs = new ArrayList<>();
    private boolean first = true;
    private long rows;
    private @Nullable Tensor last;
    private @Nullable Input<S> lastInput;

    /** @param maker of what is kept, for the first layer that reads an x */
    SeenInputs(Function<LoraSite, S> maker, Sight<S> sight) {
        this.maker = maker;
        this.sight = sight;
    }

    /** Before each batch, which has so many rows. */
    void before(long rowsOfBatch) {
        first = inputs.isEmpty();
        rows = rowsOfBatch;
        last = null;
        lastInput = null;
    }

    /** The claim that watches a layer. */
    InputUpdate watch(LoraSite site) {
        return new InputUpdate() {
            @Override
            public Tensor of(Tensor x) {
                if (x.size(0) != rows) {
                    throw new IllegalStateException(site.point().path() + " reads " + x.size(0) + " of " + rows
                            + " rows, so what it reads cannot be counted");
                }
                see(site, x);
                return x;
            }

            @Override
            public boolean watches() {
                return true;
            }
        };
    }

    private void see(LoraSite site, Tensor x) {
        String path = site.point().path();
        if (x == last && lastInput != null) { // the same tensor, not one that is equal
            if (first) {
                lastInput.sites().add(site);
                byPath.put(path, lastInput);
            }
            return;
        }
        last = x;
        if (first) {
            lastInput = new Input<>(new ArrayList<>(List.of(site)), maker.apply(site));
            inputs.add(lastInput);
            byPath.put(path, lastInput);
        } else {
            lastInput = byPath.get(path);
        }
        if (lastInput == null) {
            throw new IllegalStateException(path + " was not seen in the first batch");
        }
        sight.of(lastInput, x.detach());
    }

    /** Every x, in the order of the first forward. */
    List<Input<S>> inputs() {
        return inputs;
    }

    /** What was seen of a layer's x. */
    Input<S> of(LoraSite site) {
        Input<S> input = byPath.get(site.point().path());
        if (input == null) {
            throw new IllegalArgumentException("targets must be layers that rows go through: "
                    + site.point().path() + " has seen none");
        }
        return input;
    }
}
