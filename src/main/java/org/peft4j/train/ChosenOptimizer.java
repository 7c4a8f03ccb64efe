package org.peft4j.train;

import java.util.List;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.peft4j.config.AdafactorConfig;
import org.peft4j.config.AdamWConfig;
import org.peft4j.config.LionConfig;
import org.peft4j.config.LoraFaConfig;
import org.peft4j.config.MuonConfig;
import org.peft4j.config.OptimizerConfig;
import org.peft4j.config.SgdConfig;
import org.peft4j.error.ConfigException;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.spi.Methods;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.LowRankPair;
import org.peft4j.optim.Adafactor;
import org.peft4j.optim.AdamW;
import org.peft4j.optim.Lion;
import org.peft4j.optim.LoraFa;
import org.peft4j.optim.Muon;
import org.peft4j.optim.Sgd;
import org.peft4j.optim.UpdateRule;

/** What the settings of a run's optimiser mean. */
final class ChosenOptimizer {
    private ChosenOptimizer() {}

    /**
     * The pairs of which A stays and B is trained; none for most optimisers.
     *
     * @throws ConfigException if the optimiser is for such pairs, and the adapter has none, or other parts that it does not train
     */
    static List<LowRankPair> pairs(OptimizerConfig optimizer, MethodConfig method, Adapter adapter) {
        if (!(optimizer instanceof LoraFaConfig)) {
            return List.of();
        }
        try {
            return Methods.of(method).lowRankPairs(method, adapter);
        } catch (IllegalArgumentException e) {
            throw new ConfigException(
                    e.getMessage() + "; training.optimizer is " + optimizer.type()
                            + ", which trains B of plain LoRA at linear layers: choose another, such as adamw",
                    e);
        }
    }

    /** @param pairs see {@link #pairs} */
    static UpdateRule rule(OptimizerConfig optimizer, List<LowRankPair> pairs) {
        if (optimizer instanceof AdamWConfig of) {
            return new AdamW.Rule(of.beta1(), of.beta2(), of.eps());
        }
        if (optimizer instanceof SgdConfig of) {
            return new Sgd(of.momentum(), of.dampening(), of.nesterov());
        }
        if (optimizer instanceof LionConfig of) {
            return new Lion(of.beta1(), of.beta2());
        }
        if (optimizer instanceof AdafactorConfig of) {
            return new Adafactor(
                    of.scaleParameter(),
                    of.relativeStep(),
                    of.warmupInit(),
                    of.clipThreshold(),
                    of.decayRate(),
                    of.beta1());
        }
        if (optimizer instanceof MuonConfig of) {
            Muon.Length length = of.adjustLrFn() == MuonConfig.AdjustLrFn.ORIGINAL
                    ? Muon.Length.ORIGINAL
                    : Muon.Length.MATCH_RMS_ADAMW;
            return new Muon(of.momentum(), of.nesterov(), of.nsSteps(), length, ScalarType.BFloat16);
        }
        if (optimizer instanceof LoraFaConfig) {
            return new LoraFa(pairs);
        }
        throw new AssertionError("no rule for " + optimizer.type());
    }
}
