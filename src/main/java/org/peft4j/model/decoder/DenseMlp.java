package org.peft4j.model.decoder;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.Activations;
import org.peft4j.nn.LinearGroup;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Ops;

/** One MLP for all rows: {@code down(act(gate x) · up x)} with two layers or one for gate and up, or {@code down(act(in x))}. */
final class DenseMlp implements DecoderMlp {
    private final DecoderConfig.Mlp config;
    private final LinearGroup in;
    private final LinearGroup down;

    DenseMlp(String path, DecoderConfig.Mlp config, DecoderTensors tensors) throws IOException {
        this.config = config;
        DecoderNames.Layers names = tensors.names().block().mlp();
        List<String> mlpIn = names.in();
        long c = tensors.config().stack().hiddenSize();
        if (mlpIn.size() == 1) {
            long width = config.gated() ? 2 * config.size() : config.size();
            in = tensors.group(tensors.linear(path + "." + mlpIn.get(0), width, c, config.bias()));
        } else {
            in = tensors.group(
                    tensors.linear(path + "." + mlpIn.get(0), config.size(), c, config.bias()),
                    tensors.linear(path + "." + mlpIn.get(1), config.size(), c, config.bias()));
        }
        down = tensors.group(tensors.linear(path + "." + names.out(), c, config.size(), config.bias()));
    }

    @Override
    public Tensor forward(Tensor x, Packing rows, ForwardContext context) {
        return Scopes.scoped(() -> {
            Tensor[] parts = in.forward(x, rows, context);
            Tensor inner;
            if (!config.gated()) {
                inner = Activations.apply(config.activation(), parts[0]);
            } else if (parts.length == 2) {
                inner = Ops.gatedMlp(parts[0], parts[1], config.activation());
            } else {
                long size = config.size();
                inner = Ops.gatedMlp(parts[0].narrow(1, 0, size), parts[0].narrow(1, size, size), config.activation());
            }
            return down.forwardOne(inner, rows, context);
        });
    }

    @Override
    public List<LinearPoint> linearPoints() {
        List<LinearPoint> points = new ArrayList<>(in.points(false));
        points.addAll(down.points(false));
        return points;
    }

    @Override
    public String outputPath() {
        return down.layers().get(0).path();
    }

    @Override
    public void close() {
        in.close();
        down.close();
    }
}
