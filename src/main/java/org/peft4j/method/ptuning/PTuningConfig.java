package org.peft4j.method.ptuning;

import java.util.List;
import org.peft4j.method.MethodConfig;

/**
 * Settings of P-tuning: as prompt tuning, but while training the rows in front of each text come out of a small network that
 * reads trained ones. The file holds the rows alone.
 *
 * @param virtualTokens number of rows; more, more memory and capacity (10 to 100 is usual)
 * @param encoder the network
 * @param encoderHiddenSize width inside the network; 0 takes the model's
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2103.10385">GPT Understands, Too</a>
 */
public record PTuningConfig(int virtualTokens, Encoder encoder, int encoderHiddenSize, List<String> modulesToSave)
        implements MethodConfig {
    /** More than any model has positions, or is wide. */
    private static final int MOST = 1 << 16;

    public PTuningConfig {
        if (virtualTokens < 1 || virtualTokens > MOST) {
            throw new IllegalArgumentException("virtualTokens must be "
                    + (virtualTokens < 1 ? "at least 1" : "at most " + MOST) + ", got " + virtualTokens);
        }
        if (encoder == Encoder.LSTM) {
            throw new IllegalArgumentException(
                    "encoder LSTM is not offered: no operation here runs one; take MLP, whose files are the same");
        }
        if (encoderHiddenSize < 0 || encoderHiddenSize > MOST) {
            throw new IllegalArgumentException(
                    "encoderHiddenSize must be at least 1, or 0 for the model's width, and at most " + MOST + ", got "
                            + encoderHiddenSize);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList(); // same file for the same settings
    }

    /** Twenty rows through an MLP of the model's width. */
    public static PTuningConfig defaults() {
        return new PTuningConfig(20, Encoder.MLP, 0, List.of());
    }

    @Override
    public PTuningConfig withModulesToSave(List<String> modules) {
        return new PTuningConfig(virtualTokens, encoder, encoderHiddenSize, modules);
    }
}
