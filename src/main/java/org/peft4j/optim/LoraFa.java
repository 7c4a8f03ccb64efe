package org.peft4j.optim;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.seam.LowRankPair;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Device;

/**
 * LoRA-FA (Zhang et al. 2023) as PEFT's {@code create_lorafa_optimizer}: A stays, and B goes by {@code g (A Aᵀ + 1e-8 I)⁺ / scale²},
 * the gradient whose effect on the layer's weight is nearest to that of training the weight itself. Then Adam as transformers had
 * it: β = (0.9, 0.999), ε 1e-6, bias correction in the length of the step, and decay behind it. What is no B of a pair goes by its
 * own gradient. Inverses are made once, at B's first step.
 *
 * @see <a href="https://arxiv.org/abs/2308.03303">LoRA-FA</a>
 */
public final class LoraFa implements UpdateRule {
    private static final double BETA1 = 0.9;
    private static final double BETA2 = 0.999;
    private static final double EPS = 1e-6;
    private static final double DELTA = 1e-8;

    private final Map<String, LowRankPair> pairs = new HashMap<>();
    private final Map<String, Tensor> projections = new HashMap<>();

    /** @param pairs whose B is trained, and whose A stays as it is */
    public LoraFa(List<LowRankPair> pairs) {
        pairs.forEach(pair -> this.pairs.put(pair.b().path(), pair));
    }

    @Override
    public String name() {
        return "lora-fa";
    }

    @Override
    public Map<String, long[]> keeps(Parameter parameter) {
        return AdamW.Rule.moments(parameter);
    }

    @Override
    public void change(List<Update> updates) {
        UpdateRule.each(updates, this::change);
    }

    private void change(Update update) {
        LowRankPair pair = pairs.get(update.parameter().path());
        Tensor gradient = pair == null
                ? update.gradient()
                : update.gradient()
                        .matmul(projections.computeIfAbsent(pair.b().path(), path -> projection(pair)))
                        .mul_(new Scalar(1 / (pair.scale() * pair.scale())));
        Tensor first = update.kept(AdamW.Rule.FIRST);
        Tensor second = update.kept(AdamW.Rule.SECOND);
        first.mul_(new Scalar(BETA1)).add_(gradient, new Scalar(1 - BETA1));
        second.mul_(new Scalar(BETA2)).addcmul_(gradient, gradient, new Scalar(1 - BETA2));
        double length =
                update.rate() * Math.sqrt(1 - Math.pow(BETA2, update.step())) / (1 - Math.pow(BETA1, update.step()));
        update.value().addcdiv_(first, second.sqrt().add_(new Scalar(EPS)), new Scalar(-length));
        if (update.decay() != 0) {
            update.value().add_(update.value(), new Scalar(-update.rate() * update.decay()));
        }
    }

    /** {@code (A Aᵀ + 1e-8 I)⁺} [r, r], made on the CPU: it is small, and made once. */
    private static Tensor projection(LowRankPair pair) {
        Device device = Device.of(pair.a().value());
        return Scopes.owned(() -> {
            Tensor a = Device.CPU.move(pair.a().value().detach(), ScalarType.Float);
            Tensor products = a.matmul(a.t());
            Tensor inverse = torch.linalg_pinv(products.add(torch.eye(products.size(0)), new Scalar(DELTA)));
            return device.isCpu() ? inverse : device.copy(inverse.contiguous());
        });
    }

    @Override
    public void close() {
        projections.values().forEach(Tensor::close);
        projections.clear();
    }
}
