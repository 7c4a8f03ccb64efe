package org.peft4j.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.metrics.ClassMetrics;
import org.peft4j.metrics.Evaluation;
import org.peft4j.metrics.MetricNames;
import org.peft4j.run.RunResult.Status;
import org.peft4j.run.SampleRun;
import org.peft4j.run.StepMetrics;
import org.peft4j.run.files.Curve;
import org.peft4j.run.files.MetricsFile;
import org.peft4j.run.files.RunDirectory;

class ReportTest {
    @TempDir
    Path temporary;

    @Test
    void showsCurvesAsPicturesThatCanBeDecoded() throws IOException {
        String html = Files.readString(Report.write(
                SampleRun.write(temporary.resolve("spam-lora"), Status.FINISHED).path()));

        List<BufferedImage> pictures = pictures(html);
        assertThat(pictures).hasSize(4);
        for (BufferedImage picture : pictures) {
            assertThat(picture.getWidth()).isEqualTo(1280);
            assertThat(colours(picture)).as("more than a blank canvas").isGreaterThan(5);
        }
    }

    @Test
    void showsEvaluationSettingsAndCutTexts() throws IOException {
        String html = Files.readString(Report.write(
                SampleRun.write(temporary.resolve("spam-lora"), Status.FINISHED).path()));

        assertThat(html)
                .contains("<h1>spam-lora</h1>")
                .contains("LoRA on all-MiniLM-L6-v2 · sequence classification · 4 March 2026, 10:20 UTC")
                .contains("<b>431</b><span>training rows cut</span><small>of 2,000, at 256 tokens</small>")
                .contains("<b>222,722</b><span>trained parameters</span><small>0.97 % of 22.9 M</small>")
                .contains("<th scope=\"row\">cut</th>")
                .contains("<tr><th scope=\"row\">learning rate</th><td>5e-4</td></tr>")
                .contains("<th scope=\"row\">spam</th>")
                .contains("<h2>Notes</h2>", "<li>two labels have one &lt;name&gt;</li>")
                .doesNotContain("not complete");
    }

    @Test
    void showsTheMetricsOfOtherTasks() throws IOException {
        RunDirectory run = RunDirectory.create(temporary.resolve("run"), false);
        run.write(SampleRun.summary(run.path()), null);
        try (MetricsFile file = MetricsFile.append(run.metricsFile())) {
            for (int step = 1; step <= 2; step++) {
                file.write(
                        "validation",
                        step,
                        new Evaluation(
                                71,
                                3.0 / step,
                                Map.of(MetricNames.PERPLEXITY, Math.exp(3.0 / step)),
                                Map.of("tokens", 28_104L),
                                List.of(),
                                List.of()));
            }
        }
        String html = Files.readString(Report.write(run.path())).replaceAll("base64,[^\"]+", "");

        assertThat(html)
                .contains("<b>4.48</b><span>validation perplexity</span><small>loss 1.5000</small>")
                .contains("<h3>Perplexity</h3>", "alt=\"Perplexity over")
                .contains("<th>perplexity</th>", "<td>20.09</td>")
                .contains("<th scope=\"row\">tokens</th>", "<td>28,104</td>")
                .doesNotContain("ccuracy")
                .doesNotContain("macro F1")
                .doesNotContain("Classes")
                .doesNotContain("Which class")
                .doesNotContain("NaN");
    }

    @Test
    void picturesOfNegativeNumbersShowThem() {
        Curve curve = new Curve();
        curve.add(1, -0.25);
        curve.add(2, 0.5);

        assertThat(new Chart("Pearson", List.of(new Chart.Line("a", curve, Chart.Style.MARKED, 0)), false).fromZero())
                .isFalse();
    }

    @Test
    void refersToNothingOutsideOfThePage() throws IOException {
        String html = Files.readString(Report.write(
                SampleRun.write(temporary.resolve("run"), Status.FINISHED).path()));

        assertThat(html)
                .doesNotContain("http:")
                .doesNotContain("https:")
                .doesNotContain("<script")
                .doesNotContain("<link");
    }

    @Test
    void saysThatAFailedRunIsNotComplete() throws IOException {
        String html = Files.readString(Report.write(
                SampleRun.write(temporary.resolve("run"), Status.FAILED).path()));

        assertThat(html).contains("not complete</b>: failed after 250 of 250 steps. disk full");
    }

    @Test
    void hasItsTablesWhereJavaCannotDraw() throws IOException {
        RunDirectory run = SampleRun.write(temporary.resolve("run"), Status.FINISHED);

        String html = Files.readString(Report.write(run, chart -> {
            throw new IllegalStateException("this Java cannot draw: no <fonts>");
        }));

        assertThat(pictures(html)).isEmpty();
        assertThat(html).contains("The curves are missing: this Java cannot draw: no &lt;fonts&gt;");
        assertThat(html).contains("<th scope=\"row\">spam</th>");
    }

    @Test
    void escapesLabelsFromFiles() throws IOException {
        RunDirectory run = RunDirectory.create(temporary.resolve("run"), false);
        run.write(SampleRun.summary(run.path()), null);
        ClassMetrics metrics = new ClassMetrics(List.of("<script>alert(1)</script>", "b"));
        metrics.add(new float[] {1, 0}, 0);
        try (MetricsFile file = MetricsFile.append(run.metricsFile())) {
            file.write("validation", 1, metrics.evaluation(0));
        }

        assertThat(Files.readString(Report.write(run.path())))
                .contains("&lt;script&gt;alert(1)&lt;/script&gt;")
                .doesNotContain("<script");
    }

    @Test
    void isWrittenForARunThatDivergedToNan() throws IOException {
        RunDirectory run = RunDirectory.create(temporary.resolve("run"), false);
        run.write(SampleRun.summary(run.path()), null);
        try (MetricsFile file = MetricsFile.append(run.metricsFile())) {
            StepMetrics step = SampleRun.step(1, new java.util.SplittableRandom(1));
            file.write(new StepMetrics(
                    1,
                    0.1,
                    Double.NaN,
                    step.learningRates(),
                    Double.POSITIVE_INFINITY,
                    new StepMetrics.Speed(10, 5, 2)));
        }

        assertThat(Files.readString(Report.write(run.path()))).contains("running after 1 of 250 steps");
    }

    private static List<BufferedImage> pictures(String html) throws IOException {
        Matcher matcher = Pattern.compile("data:image/png;base64,([^\"]+)\"").matcher(html);
        List<BufferedImage> pictures = new ArrayList<>();
        while (matcher.find()) {
            pictures.add(
                    ImageIO.read(new ByteArrayInputStream(Base64.getDecoder().decode(matcher.group(1)))));
        }
        return pictures;
    }

    private static long colours(BufferedImage picture) {
        return java.util.stream.IntStream.range(0, picture.getWidth() * picture.getHeight())
                .map(i -> picture.getRGB(i % picture.getWidth(), i / picture.getWidth()))
                .distinct()
                .count();
    }
}
