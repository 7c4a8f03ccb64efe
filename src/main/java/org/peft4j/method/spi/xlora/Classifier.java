package org.peft4j.method.spi.xlora;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.xlora.XLoraConfig;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.Routing;
import org.peft4j.ops.Device;
import org.peft4j.ops.Ops;

/**
 * The classifier of X-LoRA: linear layers with ReLU and dropout between them read a row's last hidden state and give a weight for each
 * expert, or for each adapted layer and expert, layers first. Owns the experts.
 */
final class Classifier implements Routing {
    /** How the paths of its parameters begin. */
    static final String PATH = "internal_xlora_classifier.";

    /** Their group. */
    static final String GROUP = "xlora_classifier";

    private final XLoraConfig config;
    private final Experts experts;
    private final int layers;
    private final Device device;
    private final Map<String, Parameter> trained;
    private final List<Layer> stack = new ArrayList<>();

    private record Layer(Parameter weight, Parameter bias) {
        Tensor of(Tensor x) {
            return Ops.linear(x, weight.value(), bias.value());
        }
    }

    /**
     * Adds its parameters and itself to the adapter.
     *
     * @param width of the hidden states
     * @param layers number of adapted layers
     * @param trained the experts' parameters that are trained, by path; empty: they are frozen
     */
    Classifier(
            Adapter.Builder builder,
            XLoraConfig config,
            Experts experts,
            long width,
            int layers,
            Device device,
            Map<String, Parameter> trained,
            long seed) {
        this.config = config;
        this.experts = experts;
        this.layers = config.layerwiseScalings() ? layers : 1;
        this.device = device;
        this.trained = trained;
        builder.routing(this);
        long in = width;
        for (int i = 0; i < config.depth(); i++) {
            boolean last = i + 1 == config.depth();
            long out = last ? (long) this.layers * experts.all().size() : config.size();
            stack.add(layer(builder, PATH + "layers." + i * stride(config) + ".", out, in, seed));
            in = out;
        }
    }

    /** Between two linear layers is a ReLU, and a dropout if there is one; PEFT counts them. */
    private static int stride(XLoraConfig config) {
        return config.dropout() > 0 ? 3 : 2;
    }

    private static Layer layer(Adapter.Builder builder, String path, long out, long in, long seed) {
        double bound = 1 / Math.sqrt(in);
        Parameter weight =
                Parameter.of(path + "weight", GROUP, () -> Init.uniform(seed, path + "weight", bound, out, in));
        Parameter bias = Parameter.of(path + "bias", GROUP, () -> Init.uniform(seed, path + "bias", bound, out));
        builder.parameter(weight).parameter(bias);
        return new Layer(weight, bias);
    }

    /** Number of elements, for so many experts and adapted layers. */
    static long elements(XLoraConfig config, long width, int experts, int layers) {
        long out = (long) experts * (config.layerwiseScalings() ? layers : 1);
        if (config.depth() == 1) {
            return out * (width + 1);
        }
        long size = config.size();
        return size * (width + 1) + (config.depth() - 2) * size * (size + 1) + out * (size + 1);
    }

    @Override
    public Tensor weights(Tensor hidden, ForwardContext context) {
        Tensor x = hidden.to(ScalarType.Float);
        for (int i = 0; i < stack.size(); i++) {
            x = stack.get(i).of(x);
            if (i + 1 < stack.size()) {
                x = x.relu();
                x = context.training() ? Ops.dropout(x, config.dropout(), context.seed(PATH + i)) : x;
            }
        }
        Tensor logits = x.view(hidden.size(0), layers, experts.all().size());
        return chosen(
                config.enableSoftmax()
                        ? torch.softmax(logits.div(new Scalar(config.softmaxTemperature())), 2)
                        : logits);
    }

    @Override
    public @Nullable Tensor firstPass(long rows) {
        if (config.scalingPassValue() == 0) {
            return null;
        }
        Tensor same =
                Tensors.zeros(device, rows, layers, experts.all().size()).add(new Scalar(config.scalingPassValue()));
        return chosen(same);
    }

    /** Those that count, with what all are multiplied with. */
    private Tensor chosen(Tensor weights) {
        Tensor chosen = weights;
        Integer k = config.topK();
        if (k != null && k < experts.all().size()) {
            Tensor numbers = chosen.detach().topk(k).get1();
            chosen = chosen.mul(torch.zeros_like(chosen.detach()).scatter(2, numbers, new Scalar(1.0)));
        }
        if (config.enableSoftmaxTopk()) {
            Tensor none = chosen.detach().eq(new Scalar(0.0));
            Tensor shares = torch.softmax(chosen.masked_fill(none, new Scalar(Double.NEGATIVE_INFINITY)), 2);
            chosen = shares.masked_fill(none, new Scalar(0.0));
        }
        return chosen.mul(new Scalar(config.globalScalingWeight())).flatten(1, 2);
    }

    /** A layer's weights among all. */
    Tensor ofLayer(Tensor all, int layer) {
        int count = experts.all().size();
        return config.layerwiseScalings() ? all.narrow(1, (long) layer * count, count) : all;
    }

    /** The experts, with the values of what is trained of them. */
    Experts experts() {
        for (int e = 0; e < experts.all().size(); e++) {
            int expert = e;
            experts.all().get(e).adapter().parameters().forEach((path, own) -> {
                Parameter copy = trained.get(XLoraMethod.path(path, expert));
                if (copy != null) {
                    own.set(Tensors.toFloats(copy.value()));
                }
            });
        }
        return experts;
    }

    @Override
    public void close() {
        experts.close();
    }
}
