package org.peft4j.method.spi.lora;

import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.method.lora.DataStart;
import org.peft4j.method.lora.EvaConfig;
import org.peft4j.method.spi.PeftConfigReader;

/** A file's {@code eva_config}: how its adapter began, which its tensors do not need. */
final class EvaKeys {
    private static final String KEY = "eva_config";
    private static final String MASK = "label_mask_value";
    private static final int NOT_LEARNT = -100;

    private EvaKeys() {}

    static DataStart read(PeftConfigReader config) throws MalformedFileException {
        Object value = config.get(KEY);
        if (value == null) {
            return DataStart.defaults();
        }
        if (!(value instanceof Map<?, ?> map)) {
            throw config.wrong(KEY, "must be an object", value);
        }
        Map<String, Object> usual = of(EvaConfig.defaults());
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            Object own = usual.get(String.valueOf(entry.getKey()));
            boolean fits = own instanceof Boolean
                    ? entry.getValue() instanceof Boolean
                    : own != null && entry.getValue() instanceof Number;
            if (!fits) {
                throw config.wrong(
                        KEY, "must have PEFT's settings " + usual.keySet() + " with values of their kind", map);
            }
        }
        Map<String, @Nullable Object> all = new LinkedHashMap<>(usual);
        map.forEach((key, own) -> all.put(String.valueOf(key), own));
        try {
            return DataStart.defaults()
                    .withEva(new EvaConfig(
                            number(all.get("rho")),
                            number(all.get("tau")),
                            Boolean.TRUE.equals(all.get("use_label_mask")),
                            Boolean.TRUE.equals(all.get("whiten")),
                            Boolean.TRUE.equals(all.get("adjust_scaling_factors"))));
        } catch (IllegalArgumentException e) {
            throw config.wrong(KEY, "has a wrong setting (" + e.getMessage() + ")", map);
        }
    }

    private static double number(@Nullable Object value) {
        return value instanceof Number number ? number.doubleValue() : Double.NaN;
    }

    /** By PEFT's names. */
    static Map<String, Object> of(EvaConfig eva) {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("rho", eva.rho());
        map.put("tau", eva.tau());
        map.put("use_label_mask", eva.useLabelMask());
        map.put(MASK, NOT_LEARNT);
        map.put("whiten", eva.whiten());
        map.put("adjust_scaling_factors", eva.adjustScalingFactors());
        return map;
    }
}
