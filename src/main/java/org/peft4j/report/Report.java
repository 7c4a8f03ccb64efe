package org.peft4j.report;

import static org.peft4j.report.ReportText.compact;
import static org.peft4j.report.ReportText.date;
import static org.peft4j.report.ReportText.duration;
import static org.peft4j.report.ReportText.number;
import static org.peft4j.report.ReportText.percent;
import static org.peft4j.report.ReportText.whole;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import org.peft4j.io.AtomicFiles;
import org.peft4j.metrics.MetricNames;
import org.peft4j.run.files.Curve;
import org.peft4j.run.files.RunDirectory;
import org.peft4j.run.files.RunFiles;

/**
 * Writes report.html: one page for people, made from run.json and metrics.jsonl, with everything in it, so that it can
 * be sent by mail. Where Java cannot draw, the page says so and has its tables all the same.
 */
public final class Report {
    /** The report's name in the run directory. */
    public static final String FILE = RunDirectory.REPORT;

    private final RunFiles files;
    private final ChartPainter painter;
    private final Html page = new Html();

    private Report(RunFiles files, ChartPainter painter) {
        this.files = files;
        this.painter = painter;
    }

    /** Reads the files of a run directory and writes the report beside them. */
    public static Path write(Path directory) throws IOException {
        return write(
                RunDirectory.of(directory), chart -> XChartPainter.png(chart)); // a reference would load AWT at once
    }

    /** As {@link #write(Path)}, of a run whose {@code run.json} is not written yet: its text is given. */
    public static Path write(Path path, String run) throws IOException {
        RunDirectory directory = RunDirectory.of(path);
        return write(
                directory,
                RunFiles.read(directory, run.getBytes(StandardCharsets.UTF_8)),
                chart -> XChartPainter.png(chart));
    }

    static Path write(RunDirectory directory, ChartPainter painter) throws IOException {
        return write(directory, RunFiles.read(directory), painter);
    }

    private static Path write(RunDirectory directory, RunFiles files, ChartPainter painter) throws IOException {
        Report report = new Report(files, painter);
        Path name = directory.path().toAbsolutePath().normalize().getFileName();
        AtomicFiles.writeString(directory.reportFile(), report.html(name == null ? "run" : name.toString()));
        return directory.reportFile();
    }

    private String html(String name) throws IOException {
        page.add("<!doctype html>").add("<html lang=\"en\">").add("<head>").add("<meta charset=\"utf-8\">");
        page.add("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
        page.add("<title>%s · peft4j</title>", name);
        page.add("<style>")
                .add(css())
                .add("</style>")
                .add("</head>")
                .add("<body>")
                .add("<main>");
        header(name);
        cards();
        new ReportPictures(files, painter, page).add();
        new ReportEvaluations(files, page).add();
        notes();
        new ReportSettings(files, page).add();
        page.add("<footer>Made by peft4j from <code>run.json</code> and <code>metrics.jsonl</code> beside this page."
                + "</footer>");
        return page.add("</main>").add("</body>").add("</html>").toString();
    }

    private static String css() throws IOException {
        try (InputStream in = Report.class.getResourceAsStream("report.css")) {
            if (in == null) {
                throw new IOException("report.css is missing in the peft4j jar");
            }
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    private void header(String name) {
        JsonNode settings = files.run.path("settings");
        JsonNode result = files.run.path("result");
        Path model = Path.of(settings.path("model").path("path").asText("model"));
        page.add("<header>").add("<h1>%s</h1>", name);
        page.add(
                "<p>%s on %s · %s · %s</p>",
                methodName(settings.path("method").path("type").asText()),
                model.getFileName() == null ? model : model.getFileName(),
                settings.path("task").path("type").asText().replace('-', ' '),
                date(files.run.path("started").asText()));
        page.add("</header>");
        String status = result.path("status").asText("running");
        if (!status.equals("finished")) {
            page.add(
                    "<p class=\"note\">This run is <b>not complete</b>: %s after %s of %s steps. %s</p>",
                    status,
                    whole(files.steps),
                    whole(files.run.path("total_steps").asLong()),
                    result.path("message").asText(""));
        }
    }

    private static String methodName(String type) {
        return switch (type) {
            case "lora" -> "LoRA";
            case "prefix-tuning" -> "Prefix tuning";
            default -> type;
        };
    }

    private void cards() {
        page.add("<div class=\"cards\">");
        files.lastEvaluations().forEach(this::evaluationCard);
        if (!files.loss.isEmpty()) {
            Curve smooth = files.loss.smoothed();
            card("card", number(smooth.lastY()), "training loss", "from " + number(smooth.y()[0]) + ", smoothed");
        }
        JsonNode result = files.run.path("result");
        if (result.isObject()) {
            card(
                    "card",
                    whole(Math.round(result.path("tokens_per_second").asDouble())),
                    "tokens per second",
                    duration(result.path("seconds").asDouble()) + " in all");
        }
        long trained = files.run.path("trainable_parameters").asLong();
        long all = files.run.path("model_parameters").asLong();
        card(
                "card",
                compact(trained),
                "trained parameters",
                all == 0 ? "" : percent((double) trained / all) + " of " + compact(all));
        long cut = files.run.path("train_cut").asLong();
        long texts = files.run.path("train_examples").asLong();
        JsonNode length = files.run.path("settings").path("task").path("max_length");
        card(
                "card",
                whole(cut),
                "training rows cut",
                "of " + whole(texts) + (length.isNumber() ? ", at " + whole(length.asLong()) + " tokens" : ""));
        JsonNode full = files.run.path("train_packs_full");
        if (full.isNumber()) {
            card("card", percent(full.asDouble()), "of the packs is full", whole(texts) + " packs");
        }
        page.add("</div>");
    }

    private void notes() {
        JsonNode notes = files.run.path("notes");
        if (notes.isEmpty()) { // or of a run before there were notes
            return;
        }
        page.add("<h2>Notes</h2>").add("<div class=\"panel\"><ul>");
        notes.forEach(note -> page.add("<li>%s</li>", note.asText()));
        page.add("</ul></div>");
    }

    private void evaluationCard(String split, JsonNode evaluation) {
        List<String> names = ReportMetrics.names(evaluation);
        if (names.isEmpty()) {
            return;
        }
        String more = names.stream()
                .filter(name -> !MetricNames.isOfType(name))
                .skip(1)
                .limit(2)
                .map(name -> MetricNames.title(name) + " " + ReportMetrics.text(name, evaluation))
                .collect(Collectors.joining(", "));
        card(
                "card main",
                ReportMetrics.text(names.get(0), evaluation),
                split + " " + MetricNames.title(names.get(0)),
                more.isEmpty() ? "loss " + number(evaluation.path("loss").asDouble(Double.NaN)) : more);
    }

    private void card(String kind, String value, String name, String detail) {
        page.add("<div class=\"%s\"><b>%s</b><span>%s</span><small>%s</small></div>", kind, value, name, detail);
    }
}
