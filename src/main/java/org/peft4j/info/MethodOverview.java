package org.peft4j.info;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.nn.seam.Points;

/**
 * One method, for the overview that {@code peft4j methods} prints.
 *
 * @param name as in {@code method.type}
 * @param summary what it trains
 * @param fileFormat whose files it reads and writes
 * @param mergeRefusal why an adapter cannot become part of the frozen weights; null if it can
 * @param parameters how many numbers it trains in the given model, without a head; null if no model was given, or the model has
 *     nothing for it to train
 * @param settings for which settings that count is, or why there is none
 */
public record MethodOverview(
        String name,
        String summary,
        String fileFormat,
        @Nullable String mergeRefusal,
        @Nullable Long parameters,
        String settings) {
    /** Whether an adapter can become part of the frozen weights. */
    public boolean mergeable() {
        return mergeRefusal == null;
    }

    /** Every method; with counts for the classifier of a model directory if one is given. */
    public static List<MethodOverview> all(@Nullable Path model) throws IOException {
        if (model == null) {
            return rows(null);
        }
        ModelDirectory directory = ModelDirectory.open(model);
        try (HeadedModel loaded =
                HeadedModel.open(directory, ModelOptions.defaults(), HeadKind.SEQUENCE, HeadOptions.of(2))) {
            return rows(loaded.points());
        }
    }

    private static List<MethodOverview> rows(@Nullable Points points) {
        List<MethodOverview> rows = new ArrayList<>();
        for (Method<?> method : Methods.all()) {
            rows.add(row(method, points));
        }
        return rows;
    }

    private static <C extends MethodConfig> MethodOverview row(Method<C> method, @Nullable Points points) {
        C config = method.defaults();
        @Nullable Long parameters = null;
        String settings = method.settings(config);
        try {
            parameters = points == null ? null : method.parameterCount(config, points);
        } catch (IllegalArgumentException e) { // such as biases in a model without any
            settings = String.valueOf(e.getMessage());
        }
        return new MethodOverview(
                method.name(),
                method.summary(),
                (method.isPefts() ? "Hugging Face PEFT, " : "peft4j, ") + method.peftType(),
                method.mergeRefusal().orElse(null),
                parameters,
                settings);
    }
}
