package org.peft4j.method.spi.ptuning;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.method.spi.SoftPrompt;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/**
 * A bidirectional LSTM over the rows of one sequence (Hochreiter and Schmidhuber 1997), with torch's names, layout and first
 * values. A layer reads x, in both directions, and gives both h side by side:
 *
 * <pre>
 * i, f, g, o = σ, σ, tanh, σ of W_ih x_t + b_ih + W_hh h + b_hh      (four parts of 4 H rows)
 * c = f c + i g      h = o tanh(c)                                      (h and c begin with 0)
 * </pre>
 *
 * @param layers each reads what the one before it gives
 * @param dropout probability of dropping what a layer hands to the next
 */
record Lstm(List<Layer> layers, double dropout) {
    private static final int GATES = 4;

    /** One direction of a layer. */
    private record Direction(Parameter wIh, Parameter wHh, Parameter bIh, Parameter bHh, boolean backwards) {
        static Direction of(String path, String suffix, boolean backwards, long in, long hidden, long seed) {
            double bound = 1 / Math.sqrt(hidden);
            String end = suffix + (backwards ? "_reverse" : "");
            return new Direction(
                    uniform(path + ".weight_ih_" + end, seed, bound, GATES * hidden, in),
                    uniform(path + ".weight_hh_" + end, seed, bound, GATES * hidden, hidden),
                    uniform(path + ".bias_ih_" + end, seed, bound, GATES * hidden),
                    uniform(path + ".bias_hh_" + end, seed, bound, GATES * hidden),
                    backwards);
        }

        private static Parameter uniform(String path, long seed, double bound, long... shape) {
            return Parameter.of(path, SoftPrompt.GROUP, () -> Init.uniform(seed, path, bound, shape));
        }

        List<Parameter> parameters() {
            return List.of(wIh, wHh, bIh, bHh);
        }

        /** [P, in] to [P, H]. */
        Tensor of(Tensor x) {
            Tensor read = Ops.linear(x, wIh.value(), bIh.value()).add(bHh.value());
            long steps = x.size(0);
            long size = wHh.value().size(1);
            Tensor h = Tensors.zeros(Device.of(x), 1, size);
            Tensor c = h;
            Tensor[] given = new Tensor[Math.toIntExact(steps)];
            for (int step = 0; step < steps; step++) {
                int t = (int) (backwards ? steps - 1 - step : step);
                Tensor gates = read.narrow(0, t, 1).add(Ops.linear(h, wHh.value(), null));
                Tensor in = gates.narrow(1, 0, size).sigmoid();
                Tensor forget = gates.narrow(1, size, size).sigmoid();
                Tensor cell = gates.narrow(1, 2 * size, size).tanh();
                Tensor out = gates.narrow(1, 3 * size, size).sigmoid();
                c = forget.mul(c).add(in.mul(cell));
                h = out.mul(c.tanh());
                given[t] = h;
            }
            return torch.cat(new TensorVector(given), 0);
        }
    }

    /** Both directions of a layer. */
    private record Layer(String path, Direction forwards, Direction backwards) {
        Tensor of(Tensor x) {
            return torch.cat(new TensorVector(forwards.of(x), backwards.of(x)), 1);
        }
    }

    static Lstm of(String path, long in, long hidden, int count, double dropout, long seed) {
        List<Layer> layers = new ArrayList<>();
        for (int layer = 0; layer < count; layer++) {
            long width = layer == 0 ? in : 2 * hidden;
            String suffix = "l" + layer;
            layers.add(new Layer(
                    path + "." + suffix,
                    Direction.of(path, suffix, false, width, hidden, seed),
                    Direction.of(path, suffix, true, width, hidden, seed)));
        }
        return new Lstm(List.copyOf(layers), dropout);
    }

    static long elements(long in, long hidden, int count) {
        long elements = 0;
        for (int layer = 0; layer < count; layer++) {
            long width = layer == 0 ? in : 2 * hidden;
            elements += 2 * (GATES * hidden * (width + hidden) + 2 * GATES * hidden);
        }
        return elements;
    }

    void parameters(Adapter.Builder builder) {
        for (Layer layer : layers) {
            layer.forwards().parameters().forEach(builder::parameter);
            layer.backwards().parameters().forEach(builder::parameter);
        }
    }

    /** [P, in] to [P, 2 H]. */
    Tensor of(Tensor x, ForwardContext context) {
        Tensor y = x;
        for (int i = 0; i < layers.size(); i++) {
            Layer layer = layers.get(i);
            y = layer.of(y);
            if (i + 1 < layers.size() && context.training() && dropout > 0) {
                y = Ops.dropout(y, dropout, context.seed(layer.path()));
            }
        }
        return y;
    }
}
