package org.peft4j.method.spi;

import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.PeftType;
import org.peft4j.method.spi.bitfit.BitFitMethod;
import org.peft4j.method.spi.bottleneck.BottleneckMethod;
import org.peft4j.method.spi.ia3.Ia3Method;
import org.peft4j.method.spi.lora.LoraMethod;
import org.peft4j.method.spi.prefix.PrefixMethod;
import org.peft4j.method.spi.prompt.PromptMethod;
import org.peft4j.method.spi.ptuning.PTuningMethod;
import org.peft4j.method.spi.tokens.TrainableTokensMethod;

/** Every method by its type. A new one is added to {@link PeftType} and here; a test fails if one is forgotten. */
public final class Methods {
    private static final Map<PeftType, Method<?>> METHODS = new EnumMap<>(PeftType.class);

    static {
        for (Method<?> method : List.of(
                new LoraMethod(),
                new Ia3Method(),
                new PrefixMethod(),
                new PromptMethod(),
                new PTuningMethod(),
                new TrainableTokensMethod(),
                new BitFitMethod(),
                new BottleneckMethod())) {
            METHODS.put(method.type(), method);
        }
    }

    private Methods() {}

    public static Method<?> of(PeftType type) {
        Method<?> method = METHODS.get(type);
        if (method == null) {
            throw new AssertionError("no method for " + type);
        }
        return method;
    }

    /** The method of these settings. */
    @SuppressWarnings("unchecked") // a method's configType() is the class of its settings
    public static <C extends MethodConfig> Method<C> of(C config) {
        Method<?> method = of(config.peftType());
        if (!method.configType().isInstance(config)) {
            throw new AssertionError(config.getClass() + " is not " + method.configType());
        }
        return (Method<C>) method;
    }

    public static List<Method<?>> all() {
        return Arrays.stream(PeftType.values()).<Method<?>>map(Methods::of).toList();
    }
}
