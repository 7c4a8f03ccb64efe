package org.peft4j.report;

import static org.peft4j.report.ReportText.percent;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.metrics.MetricNames;
import org.peft4j.run.files.RunFiles;

/** The metrics among the numbers of an evaluation's line in metrics.jsonl. */
final class ReportMetrics {
    private ReportMetrics() {}

    /** Their names, the most important first. */
    static List<String> names(JsonNode evaluation) {
        return evaluation.properties().stream()
                .filter(entry -> entry.getValue().isNumber() && MetricNames.isKnown(entry.getKey()))
                .map(Map.Entry::getKey)
                .toList();
    }

    /** Those of all evaluations, without those of single types. */
    static List<String> columns(RunFiles files) {
        Set<String> names = new LinkedHashSet<>();
        files.lastEvaluations().values().forEach(evaluation -> names.addAll(names(evaluation)));
        files.evaluations.forEach(evaluation -> names.addAll(names(evaluation)));
        return names.stream().filter(name -> !MetricNames.isOfType(name)).toList();
    }

    /** The most important one; null where nothing was evaluated. */
    static @Nullable String main(RunFiles files) {
        List<String> names = columns(files);
        return names.isEmpty() ? null : names.get(0);
    }

    /** Its value in an evaluation, as the report shows it; a dash where it is missing. */
    static String text(String name, JsonNode evaluation) {
        JsonNode value = evaluation.path(name);
        if (!value.isNumber()) {
            return "–";
        }
        return MetricNames.isShare(name) ? percent(value.asDouble()) : MetricNames.text(name, value.asDouble());
    }
}
