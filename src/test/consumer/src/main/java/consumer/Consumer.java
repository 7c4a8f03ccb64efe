package consumer;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.ops.Ops;

/** Runs one of our operations forward and backward, with what a user's own pom.xml brings. */
public final class Consumer {
    private Consumer() {}

    public static void main(String[] args) {
        System.out.println("config " + LoraConfig.class.getSimpleName());
        Tensor x = torch.ones(2, 3);
        x.set_requires_grad(true);
        Ops.dropout(x, 0.0, 0).sum().backward();
        System.out.println("gradient " + x.grad().sum().item_float());
    }
}
