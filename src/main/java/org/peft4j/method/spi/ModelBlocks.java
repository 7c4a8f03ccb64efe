package org.peft4j.method.spi;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.peft4j.method.ModelPart;
import org.peft4j.nn.seam.KeyValuePoint;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Points;

/** Where in a model its tensors are: in which block and what part of it, before the blocks, behind them, or in the head. */
public final class ModelBlocks {
    private final List<String> blocks = new ArrayList<>(); // by layer: bert.encoder.layer.0.
    private final List<String> attentions = new ArrayList<>(); // bert.encoder.layer.0.attention.
    private final Set<String> before = new HashSet<>();
    private final Set<String> heads = new HashSet<>();
    private final String backbone;

    /** Of a model's points. */
    public ModelBlocks(Points points) {
        for (KeyValuePoint point : points.keyValues()) {
            String number = "." + point.layer() + ".";
            int end = point.path().indexOf(number) + number.length();
            int next = point.path().indexOf('.', end);
            blocks.add(point.path().substring(0, end));
            attentions.add(next < 0 ? point.path() + "." : point.path().substring(0, next + 1));
        }
        backbone = points.backbone();
        points.linears().stream().filter(LinearPoint::head).forEach(point -> heads.add(point.path() + "."));
        for (String path : points.tensors().keySet()) {
            if (layerOf(path) >= 0) {
                break; // tensors are in the model's order
            }
            before.add(path);
        }
    }

    /** The number of the block that a tensor or module is in; -1: it is in none. */
    public int layerOf(String path) {
        for (int layer = 0; layer < blocks.size(); layer++) {
            if (path.startsWith(blocks.get(layer))) {
                return layer;
            }
        }
        return -1;
    }

    /** Whether it is in the attention of a block, not in the rest of it. */
    public boolean inAttention(String path) {
        int layer = layerOf(path);
        return layer >= 0 && path.startsWith(attentions.get(layer));
    }

    /** The part of the model that a tensor is in. */
    public ModelPart partOf(String path) {
        if (layerOf(path) >= 0) {
            return ModelPart.BLOCKS;
        }
        if (!path.startsWith(backbone) || heads.stream().anyMatch(path::startsWith)) {
            return ModelPart.HEAD;
        }
        return before.contains(path) ? ModelPart.EMBEDDINGS : ModelPart.FINAL;
    }
}
