package org.peft4j.method.lora;

import java.util.Locale;

/**
 * Settings of the starts that are made of what the frozen model does with the first rows of a training run
 * ({@link InitLora#needsData}).
 *
 * @param eva those of init eva
 * @param corda those of init corda
 * @param loraGa those of init lora_ga
 * @param calibrationRows how many rows it looks at, in the run's own order; all, where there are fewer
 */
public record DataStart(EvaConfig eva, CordaConfig corda, LoraGaConfig loraGa, int calibrationRows) {
    private static final DataStart DEFAULTS =
            new DataStart(EvaConfig.defaults(), CordaConfig.defaults(), LoraGaConfig.defaults(), 256);

    public DataStart {
        if (calibrationRows < 1) {
            throw new IllegalArgumentException("calibrationRows must be at least 1, got " + calibrationRows);
        }
    }

    /** PEFT's settings, 256 rows. */
    public static DataStart defaults() {
        return DEFAULTS;
    }

    /** The same with other settings of EVA. */
    public DataStart withEva(EvaConfig value) {
        return new DataStart(value, corda, loraGa, calibrationRows);
    }

    /** The same with other settings of CorDA. */
    public DataStart withCorda(CordaConfig value) {
        return new DataStart(eva, value, loraGa, calibrationRows);
    }

    /** The same with other settings of LoRA-GA. */
    public DataStart withLoraGa(LoraGaConfig value) {
        return new DataStart(eva, corda, value, calibrationRows);
    }

    /** The same with another number of rows. */
    public DataStart withCalibrationRows(int value) {
        return new DataStart(eva, corda, loraGa, value);
    }

    /** Refuses settings of a start that init does not name. */
    void check(InitLora init) {
        check("eva", InitLora.EVA, !eva.equals(DEFAULTS.eva), init);
        check("corda", InitLora.CORDA, !corda.equals(DEFAULTS.corda), init);
        check("lora_ga", InitLora.LORA_GA, !loraGa.equals(DEFAULTS.loraGa), init);
        if (calibrationRows != DEFAULTS.calibrationRows && !init.needsData()) {
            throw new IllegalArgumentException("calibration_rows is for init eva, corda and lora_ga alone, got "
                    + calibrationRows + " with init " + init.name().toLowerCase(Locale.ROOT));
        }
    }

    private static void check(String setting, InitLora own, boolean said, InitLora init) {
        if (said && init != own) {
            throw new IllegalArgumentException(setting + " is for init "
                    + own.name().toLowerCase(Locale.ROOT) + " alone, got init "
                    + init.name().toLowerCase(Locale.ROOT));
        }
    }
}
