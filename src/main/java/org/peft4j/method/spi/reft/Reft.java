package org.peft4j.method.spi.reft;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.reft.ReftConfig;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.BlockPoint;
import org.peft4j.nn.seam.BlockUpdate;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.SequenceRows;
import org.peft4j.ops.Device;

/** Edits behind one block: each unit the rows at its places, all others stay bit by bit. */
record Reft(PromptPlaces places, List<Edit> edits) implements BlockUpdate {
    /** A unit and what it edits. */
    record Edit(PromptPlaces.Kind kind, ReftUnit unit) {}

    static Reft fresh(
            Adapter.Builder builder,
            BlockPoint point,
            ReftConfig config,
            long seed,
            ReftUnit.@Nullable BaseOfFile base) {
        List<Edit> edits = new ArrayList<>();
        for (PromptPlaces.Kind kind : kinds(config)) {
            String path = point.path() + ".reft_layer.units." + (kind == PromptPlaces.Kind.LAST ? 1 : 0);
            edits.add(new Edit(kind, ReftUnit.fresh(builder, path, point.width(), config, seed, base)));
        }
        return new Reft(new PromptPlaces(config.prefixPositions(), config.suffixPositions()), edits);
    }

    /** What has a unit of its own. */
    static List<PromptPlaces.Kind> kinds(ReftConfig config) {
        if (config.tiedWeights()) {
            return List.of(PromptPlaces.Kind.BOTH);
        }
        List<PromptPlaces.Kind> kinds = new ArrayList<>();
        if (config.prefixPositions() > 0) {
            kinds.add(PromptPlaces.Kind.FIRST);
        }
        if (config.suffixPositions() > 0) {
            kinds.add(PromptPlaces.Kind.LAST);
        }
        return kinds;
    }

    @Override
    public Tensor apply(Tensor h, SequenceRows rows, ForwardContext context) {
        Tensor out = h;
        for (Edit edit : edits) {
            Tensor chosen = places.rows(edit.kind(), rows, context, Device.of(h));
            if (chosen.size(0) > 0) {
                Tensor edited = edit.unit().of(h.index_select(0, chosen).to(ScalarType.Float), context);
                out = out.index_copy(0, chosen, edited.to(h.scalar_type()));
            }
        }
        return out;
    }
}
