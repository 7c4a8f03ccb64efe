package org.peft4j.metrics;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.reflect.Modifier;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class MetricNamesTest {
    @Test
    void everyNameHasARow() throws Exception {
        for (var field : MetricNames.class.getFields()) {
            assertThat(Modifier.isStatic(field.getModifiers())).isTrue();
            String name = (String) field.get(null);
            assertThat(MetricNames.isKnown(name)).as(name).isTrue();
            assertThat(MetricNames.title(name)).isNotEmpty();
        }
        assertThat(Arrays.stream(MetricNames.class.getFields())).hasSizeGreaterThan(5);
    }

    @Test
    void errorsAndPerplexityAreBetterLow() {
        assertThat(MetricNames.isBetter(MetricNames.ACCURACY, 0.9, 0.8)).isTrue();
        assertThat(MetricNames.isBetter(MetricNames.PEARSON, -0.5, 0.1)).isFalse();
        assertThat(MetricNames.isBetter(MetricNames.PERPLEXITY, 16.8, 134.3)).isTrue();
        assertThat(MetricNames.isBetter(MetricNames.MEAN_SQUARED_ERROR, 2, 1)).isFalse();
        assertThat(MetricNames.isBetter(MetricNames.ENTITY_F1 + ".PER", 0.5, 0.5))
                .isFalse();
    }

    @Test
    void numbersAreReadable() {
        assertThat(MetricNames.text(MetricNames.ACCURACY, 0.90512)).isEqualTo("0.9051");
        assertThat(MetricNames.text(MetricNames.PERPLEXITY, 134.345)).isEqualTo("134.35");
        assertThat(MetricNames.text(MetricNames.PERPLEXITY, 2.5e9)).isEqualTo("2.50e+09");
        assertThat(MetricNames.text(MetricNames.PERPLEXITY, Double.POSITIVE_INFINITY))
                .isEqualTo("Infinity");
        assertThat(MetricNames.text(MetricNames.MEAN_SQUARED_ERROR, 0.00001)).isEqualTo("1.00e-05");
        assertThat(MetricNames.text(MetricNames.MEAN_SQUARED_ERROR, 0)).isEqualTo("0.0000");
        assertThat(MetricNames.title("entity_f1.PER")).isEqualTo("entity F1 of PER");
    }

    @Test
    void anEvaluationRefusesMetricsWithoutARow() {
        assertThatThrownBy(() -> new Evaluation(1, 0, Map.of("bleu", 0.3), Map.of(), List.of(), List.of()))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("'bleu'")
                .hasMessageContaining("MetricNames");
    }

    @Test
    void countsAreWholeNumbersBesideTheMetrics() {
        ClassMetrics tags = new ClassMetrics(List.of("O", "B"));
        tags.add(new float[] {1, 0}, 0);
        Evaluation evaluation = tags.evaluation(1, Map.of(MetricNames.ENTITY_F1, 0.5), Map.of(Evaluation.CUT, 2L));

        assertThat(evaluation.mainMetric()).isEqualTo(MetricNames.ENTITY_F1);
        assertThat(evaluation.cut()).isEqualTo(2);
        assertThat(evaluation.count("tokens")).isZero();
        assertThat(evaluation.toMap()).containsEntry("cut", 2L).containsEntry("entity_f1", 0.5);
    }
}
