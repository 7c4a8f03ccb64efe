package org.peft4j.method.spi;

import java.util.List;
import java.util.Optional;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.spi.adalora.AdaLoraMethod;
import org.peft4j.method.spi.adaption.AdaptionPromptMethod;
import org.peft4j.method.spi.bitfit.BitFitMethod;
import org.peft4j.method.spi.boft.BoftMethod;
import org.peft4j.method.spi.bottleneck.BottleneckMethod;
import org.peft4j.method.spi.bottleneck.FusionMethod;
import org.peft4j.method.spi.c3a.C3aMethod;
import org.peft4j.method.spi.cpt.CptMethod;
import org.peft4j.method.spi.dept.DeptMethod;
import org.peft4j.method.spi.ept.EptMethod;
import org.peft4j.method.spi.fourierft.FourierFtMethod;
import org.peft4j.method.spi.full.FullMethod;
import org.peft4j.method.spi.gralora.GraloraMethod;
import org.peft4j.method.spi.hft.HftMethod;
import org.peft4j.method.spi.hira.HiraMethod;
import org.peft4j.method.spi.hra.HraMethod;
import org.peft4j.method.spi.ia3.Ia3Method;
import org.peft4j.method.spi.iapt.IaptMethod;
import org.peft4j.method.spi.list.ListMethod;
import org.peft4j.method.spi.lntuning.LnTuningMethod;
import org.peft4j.method.spi.loha.LoHaMethod;
import org.peft4j.method.spi.lokr.LoKrMethod;
import org.peft4j.method.spi.lora.LoraMethod;
import org.peft4j.method.spi.miss.MissMethod;
import org.peft4j.method.spi.multitask.MultitaskMethod;
import org.peft4j.method.spi.oft.OftMethod;
import org.peft4j.method.spi.osf.OsfMethod;
import org.peft4j.method.spi.poly.PolyMethod;
import org.peft4j.method.spi.prefix.PrefixMethod;
import org.peft4j.method.spi.prompt.PromptMethod;
import org.peft4j.method.spi.ptuning.PTuningMethod;
import org.peft4j.method.spi.randlora.RandLoraMethod;
import org.peft4j.method.spi.reft.ReftMethod;
import org.peft4j.method.spi.road.RoadMethod;
import org.peft4j.method.spi.shira.ShiraMethod;
import org.peft4j.method.spi.tokens.TrainableTokensMethod;
import org.peft4j.method.spi.vblora.VbLoraMethod;
import org.peft4j.method.spi.vera.VeraMethod;
import org.peft4j.method.spi.xlora.XLoraMethod;

/** Every method: a new one is added here, and nowhere else. Lists and messages have them in this order. */
public final class Methods {
    private static final List<Method<?>> ALL = List.of(
            new LoraMethod(),
            new AdaLoraMethod(),
            new Ia3Method(),
            new VeraMethod(),
            new LoHaMethod(),
            new LoKrMethod(),
            new HiraMethod(),
            new RandLoraMethod(),
            new ShiraMethod(),
            new VbLoraMethod(),
            new OftMethod(),
            new BoftMethod(),
            new HraMethod(),
            new RoadMethod(),
            new MissMethod(),
            new C3aMethod(),
            new FourierFtMethod(),
            new GraloraMethod(),
            new OsfMethod(),
            new ListMethod(),
            new PolyMethod(),
            new LnTuningMethod(),
            new PrefixMethod(),
            new PromptMethod(),
            new MultitaskMethod(),
            new PTuningMethod(),
            new CptMethod(),
            new DeptMethod(),
            new EptMethod(),
            new TrainableTokensMethod(),
            new BitFitMethod(),
            new FullMethod(),
            new HftMethod(),
            new BottleneckMethod(),
            new FusionMethod(),
            new ReftMethod(),
            new AdaptionPromptMethod(),
            new IaptMethod(),
            new XLoraMethod());

    private Methods() {}

    /** Why an adapter with these settings cannot be merged; empty if it can. */
    public static Optional<String> mergeRefusal(MethodConfig config) {
        return of(config).mergeRefusal(config);
    }

    public static List<Method<?>> all() {
        return ALL;
    }

    /**
     * The method of an adapter file.
     *
     * @throws IllegalArgumentException if it is not one of ours
     */
    public static Method<?> ofPeftType(String peftType) {
        return ALL.stream()
                .filter(method -> method.peftType().equals(peftType))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("peft_type '" + peftType
                        + "' is not supported; supported are "
                        + ALL.stream().map(Method::peftType).toList()));
    }

    /** The method of these settings. */
    @SuppressWarnings("unchecked") // a method's configType() is the class of its settings
    public static <C extends MethodConfig> Method<C> of(C config) {
        return (Method<C>) ALL.stream()
                .filter(method -> method.configType().isInstance(config))
                .findFirst()
                .orElseThrow(() -> new AssertionError("no method for " + config.getClass()));
    }
}
