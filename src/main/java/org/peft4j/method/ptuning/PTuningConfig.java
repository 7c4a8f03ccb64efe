package org.peft4j.method.ptuning;

import java.util.List;
import org.peft4j.method.MethodConfig;

/**
 * Settings of P-tuning: as prompt tuning, but while training the rows in front of each text come out of a small network that
 * reads trained ones. The file holds the rows alone.
 *
 * @param virtualTokens number of rows; more, more memory and capacity (10 to 100 is usual)
 * @param encoder the network
 * @param encoderHiddenSize width inside the network, of an LSTM in each direction; 0 takes the model's
 * @param encoderLayers layers of the LSTM; an MLP has always three
 * @param encoderDropout probability of dropping what one layer of the LSTM hands to the next while training, 0 to below 1
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2103.10385">GPT Understands, Too</a>
 */
public record PTuningConfig(
        int virtualTokens,
        Encoder encoder,
        int encoderHiddenSize,
        int encoderLayers,
        double encoderDropout,
        List<String> modulesToSave)
        implements MethodConfig {
    /** Layers where nothing is said, as in Hugging Face PEFT. */
    private static final int LAYERS = 2;

    /** More than anybody trains. */
    private static final int MOST_LAYERS = 64;

    /** More than any model has positions, or is wide. */
    private static final int MOST = 1 << 16;

    public PTuningConfig {
        if (virtualTokens < 1 || virtualTokens > MOST) {
            throw new IllegalArgumentException("virtualTokens must be "
                    + (virtualTokens < 1 ? "at least 1" : "at most " + MOST) + ", got " + virtualTokens);
        }
        if (encoderHiddenSize < 0 || encoderHiddenSize > MOST) {
            throw new IllegalArgumentException(
                    "encoderHiddenSize must be at least 1, or 0 for the model's width, and at most " + MOST + ", got "
                            + encoderHiddenSize);
        }
        if (encoderLayers < 1 || encoderLayers > MOST_LAYERS) {
            throw new IllegalArgumentException("encoderLayers must be 1 to " + MOST_LAYERS + ", got " + encoderLayers);
        }
        if (!(encoderDropout >= 0 && encoderDropout < 1)) { // also refuses NaN
            throw new IllegalArgumentException("encoderDropout must be in [0, 1), got " + encoderDropout);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    /** An encoder with the usual layers, without dropout. */
    public PTuningConfig(int virtualTokens, Encoder encoder, int encoderHiddenSize, List<String> modulesToSave) {
        this(virtualTokens, encoder, encoderHiddenSize, LAYERS, 0, modulesToSave);
    }

    /** Whether layers or dropout are said, which an MLP has not. */
    public boolean saysLstm() {
        return encoderLayers != LAYERS || encoderDropout != 0;
    }

    /** Twenty rows through an MLP of the model's width. */
    public static PTuningConfig defaults() {
        return new PTuningConfig(20, Encoder.MLP, 0, List.of());
    }

    @Override
    public PTuningConfig withModulesToSave(List<String> modules) {
        return new PTuningConfig(virtualTokens, encoder, encoderHiddenSize, encoderLayers, encoderDropout, modules);
    }
}
