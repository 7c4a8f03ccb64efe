package org.peft4j.method.spi.bottleneck;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.method.bottleneck.InitBottleneck;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Ops;

/** One of the two layers of a bottleneck. */
interface BottleneckLayer {
    /** The group of all parameters but the coefficients of activations. */
    String GROUP = "bottleneck";

    /** y of float32 rows x, [T, in] → [T, out]. */
    Tensor of(Tensor x);

    /** What is its own; what it shares with others is not among them. */
    List<Parameter> parameters();

    /** A linear layer. */
    record Plain(Parameter weight, Parameter bias) implements BottleneckLayer {
        private static final double STD = 0.02;
        private static final double HOULSBY = 0.01;

        /**
         * The first or the second layer.
         *
         * @param up whether it is the second
         */
        static Plain fresh(String path, long out, long in, boolean up, InitBottleneck init, long seed) {
            String weight = path + ".weight";
            return new Plain(
                    Parameter.of(weight, GROUP, () -> switch (init) {
                        case BERT -> Init.normal(seed, weight, STD, out, in);
                        case MAM_ADAPTER -> up ? Tensors.zeros(out, in) : Init.kaiming(seed, weight, out, in);
                        case HOULSBY -> Init.truncatedNormal(seed, weight, HOULSBY, 2 * HOULSBY, out, in);
                    }),
                    Parameter.of(path + ".bias", GROUP, () -> Tensors.zeros(out)));
        }

        @Override
        public Tensor of(Tensor x) {
            return Ops.linear(x, weight.value(), bias.value());
        }

        @Override
        public List<Parameter> parameters() {
            return List.of(weight, bias);
        }
    }
}
