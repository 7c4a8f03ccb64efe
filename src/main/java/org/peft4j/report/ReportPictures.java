package org.peft4j.report;

import static org.peft4j.report.ReportText.capitalised;
import static org.peft4j.report.ReportText.number;
import static org.peft4j.report.ReportText.whole;

import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import org.peft4j.metrics.MetricNames;
import org.peft4j.run.files.Curve;
import org.peft4j.run.files.RunFiles;

/** The report's pictures: loss, the task's main metric, learning rate and speed over the steps. */
final class ReportPictures {
    private static final int BLUE = 0x0b62c4;
    private static final int LIGHT_BLUE = 0xc3dbf5;
    private static final int ORANGE = 0xd9660f;
    private static final int[] COLORS = {BLUE, ORANGE, 0x1a7f4b, 0x8250df, 0xbf3989, 0x6e7781};

    private final RunFiles files;
    private final ChartPainter painter;
    private final Html page;
    private String problem = "";

    ReportPictures(RunFiles files, ChartPainter painter, Html page) {
        this.files = files;
        this.painter = painter;
        this.page = page;
    }

    void add() {
        List<Chart.Line> losses = new ArrayList<>();
        losses.add(new Chart.Line("steps", files.loss, Chart.Style.FAINT, LIGHT_BLUE));
        losses.add(new Chart.Line("training", files.loss.smoothed(), Chart.Style.SOLID, BLUE));
        List<Chart.Line> metrics = new ArrayList<>();
        String main = ReportMetrics.main(files);
        int color = 1;
        for (String split : files.lastEvaluations().keySet()) {
            int next = COLORS[color++ % COLORS.length];
            losses.add(new Chart.Line(split, files.evaluations(split, "loss"), Chart.Style.MARKED, next));
            if (main != null) {
                metrics.add(new Chart.Line(split, files.evaluations(split, main), Chart.Style.MARKED, next));
            }
        }
        List<Chart.Line> rates = new ArrayList<>();
        files.rates.forEach((group, curve) ->
                rates.add(new Chart.Line(group, curve, Chart.Style.SOLID, COLORS[rates.size() % COLORS.length])));
        List<Chart.Line> speeds = List.of(
                new Chart.Line("steps", files.speed, Chart.Style.FAINT, LIGHT_BLUE),
                new Chart.Line("mean", files.speed.smoothed(), Chart.Style.SOLID, BLUE));
        page.add("<h2>Course of training</h2>").add("<div class=\"two\">");
        picture(new Chart("Loss", losses, false));
        if (main != null) {
            picture(new Chart(capitalised(MetricNames.title(main)), metrics, MetricNames.isShare(main)));
        }
        picture(new Chart("Learning rate", rates, false));
        picture(new Chart("Tokens per second", speeds, false));
        page.add("</div>");
        if (!problem.isEmpty()) {
            page.add(
                    "<p class=\"note\">The curves are missing: %s. The numbers are in <code>metrics.jsonl</code>.</p>",
                    problem);
        }
    }

    private void picture(Chart chart) {
        if (chart.lines().isEmpty() || !problem.isEmpty()) {
            return;
        }
        byte[] png;
        try {
            png = painter.png(chart);
        } catch (RuntimeException | LinkageError e) { // a picture less is no reason to lose the report
            problem = e instanceof LinkageError ? "this Java cannot draw: " + e : String.valueOf(e.getMessage());
            return;
        }
        Curve main = chart.lines().get(chart.lines().size() - 1).curve();
        page.add("<div class=\"panel\"><h3>%s</h3>", chart.title());
        page.add(
                "<img alt=\"%s over %s steps, last value %s\" width=\"640\" height=\"300\" src=\"data:image/png;base64,%s\">",
                chart.title(),
                whole(files.steps),
                number(main.lastY()),
                Base64.getEncoder().encodeToString(png));
        page.add("</div>");
    }
}
