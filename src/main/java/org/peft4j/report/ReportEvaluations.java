package org.peft4j.report;

import static org.peft4j.report.ReportText.capitalised;
import static org.peft4j.report.ReportText.number;
import static org.peft4j.report.ReportText.whole;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.peft4j.metrics.MetricNames;
import org.peft4j.run.files.RunFiles;

/** The report's account of the evaluations: confusion and classes of the last ones, and a table of all. */
final class ReportEvaluations {
    /** Whole numbers in an evaluation's line that are said elsewhere. */
    private static final Set<String> NO_COUNTS = Set.of("step", "examples");

    private final RunFiles files;
    private final Html page;

    ReportEvaluations(RunFiles files, Html page) {
        this.files = files;
        this.page = page;
    }

    void add() {
        files.lastEvaluations().forEach(this::evaluation);
        history();
    }

    private void evaluation(String split, JsonNode evaluation) {
        page.add(
                "<h2>%s, after step %s</h2>",
                capitalised(split), whole(evaluation.path("step").asLong()));
        page.add("<div class=\"two\">");
        if (!evaluation.path("confusion").isEmpty()) {
            page.add("<div class=\"panel\"><h3>Which class was taken for which</h3>");
            confusion(evaluation);
            page.add("<p>Rows: the right class. Columns: what the model says.</p></div>");
        }
        if (!evaluation.path("classes").isEmpty()) {
            classes(evaluation);
        }
        numbers(evaluation);
        page.add("</div>");
    }

    private void classes(JsonNode evaluation) {
        page.add("<div class=\"panel\"><h3>Classes</h3>");
        List<List<String>> rows = new ArrayList<>();
        for (JsonNode score : evaluation.path("classes")) {
            rows.add(List.of(
                    score.path("label").asText(),
                    number(score.path("precision").asDouble()),
                    number(score.path("recall").asDouble()),
                    number(score.path("f1").asDouble()),
                    whole(score.path("support").asLong())));
        }
        page.table(List.of("", "precision", "recall", "F1", "support"), rows).add("</div>");
    }

    private void numbers(JsonNode evaluation) {
        page.add("<div class=\"panel\"><h3>Metrics</h3>");
        List<List<String>> rows = new ArrayList<>();
        for (String name : ReportMetrics.names(evaluation)) {
            rows.add(List.of(MetricNames.title(name), ReportMetrics.text(name, evaluation)));
        }
        rows.add(List.of("loss", number(evaluation.path("loss").asDouble(Double.NaN))));
        for (Map.Entry<String, JsonNode> entry : evaluation.properties()) {
            if (entry.getValue().isIntegralNumber() && !NO_COUNTS.contains(entry.getKey())) {
                rows.add(List.of(
                        MetricNames.countTitle(entry.getKey()),
                        whole(entry.getValue().asLong())));
            }
        }
        page.table(List.of("", ""), rows);
        page.add("<p>%s rows</p></div>", whole(evaluation.path("examples").asLong()));
    }

    private void confusion(JsonNode evaluation) {
        JsonNode labels = evaluation.path("labels");
        if (labels.size() > 40) {
            page.add(
                    "<p>%s classes are too many for a table here; it is in <code>metrics.jsonl</code>.</p>",
                    labels.size());
            return;
        }
        page.add("<div class=\"scroll\"><table class=\"confusion\"><tr><th></th>");
        labels.forEach(label -> page.add("<th>%s</th>", label.asText()));
        page.add("</tr>");
        int right = 0;
        for (JsonNode row : evaluation.path("confusion")) {
            page.add("<tr><th scope=\"row\">%s</th>", labels.path(right).asText());
            long sum = 0;
            for (JsonNode count : row) {
                sum += count.asLong();
            }
            for (int said = 0; said < row.size(); said++) {
                long count = row.path(said).asLong();
                double share = sum == 0 ? 0 : (double) count / sum;
                String hue = said == right ? "11, 98, 196" : "217, 102, 15";
                page.add(
                        "<td style=\"background: rgba(%s, %s)\">%s</td>",
                        hue, String.format(Locale.ROOT, "%.2f", count == 0 ? 0 : 0.10 + 0.45 * share), whole(count));
            }
            page.add("</tr>");
            right++;
        }
        page.add("</table></div>");
    }

    private void history() {
        if (files.evaluations.size() <= files.lastEvaluations().size()) {
            return;
        }
        page.add("<h2>Evaluations</h2>").add("<div class=\"panel\">");
        List<String> metrics = ReportMetrics.columns(files);
        List<String> head = new ArrayList<>(List.of("", "step", "loss"));
        metrics.forEach(name -> head.add(MetricNames.title(name)));
        List<List<String>> rows = new ArrayList<>();
        for (JsonNode line : files.evaluations) {
            List<String> row = new ArrayList<>(List.of(
                    line.path("evaluation").asText(),
                    whole(line.path("step").asLong()),
                    number(line.path("loss").asDouble(Double.NaN))));
            metrics.forEach(name -> row.add(ReportMetrics.text(name, line)));
            rows.add(row);
        }
        page.table(head, rows).add("</div>");
    }
}
