package org.peft4j.method.fourierft;

import java.util.List;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.TargetLayers;

/**
 * Settings of FourierFT: {@code y = (W + s · Re F⁻¹(C)) x + b}, where C is a spectrum that has trained coefficients in a few random
 * places, and F⁻¹ the inverse Fourier transform in two dimensions.
 *
 * @param frequencies the places
 * @param scaling s
 * @param initWeights whether the coefficients begin with zeros, so that a new adapter changes nothing; else with normal numbers, as is
 *     PEFT's default
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2405.03003">Parameter-Efficient Fine-Tuning with Discrete Fourier Transform</a>
 */
public record FourierFtConfig(
        Frequencies frequencies, double scaling, boolean initWeights, TargetLayers layers, List<String> modulesToSave)
        implements LinearMethodConfig {
    public FourierFtConfig {
        if (!(Math.abs(scaling) <= Float.MAX_VALUE) || scaling == 0) { // also refuses NaN
            throw new IllegalArgumentException(
                    "scaling must be a number other than 0 that float32 holds, got " + scaling);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: 1000 coefficients, scaling 150, a normal start, the model's usual targets. */
    public static FourierFtConfig defaults() {
        return new FourierFtConfig(Frequencies.defaults(), 150, false, TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with other places. */
    public FourierFtConfig withFrequencies(Frequencies value) {
        return new FourierFtConfig(value, scaling, initWeights, layers, modulesToSave);
    }

    /** The same settings with another start. */
    public FourierFtConfig withInitWeights(boolean value) {
        return new FourierFtConfig(frequencies, scaling, value, layers, modulesToSave);
    }

    @Override
    public FourierFtConfig withLayers(TargetLayers value) {
        return new FourierFtConfig(frequencies, scaling, initWeights, value, modulesToSave);
    }

    @Override
    public FourierFtConfig withModulesToSave(List<String> modules) {
        return new FourierFtConfig(frequencies, scaling, initWeights, layers, modules);
    }
}
