package org.peft4j.run.files;

import java.io.Closeable;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.peft4j.metrics.Evaluation;
import org.peft4j.run.StepMetrics;

/**
 * Appends to metrics.jsonl. Each line is one JSON object, written at once, so that the file can be followed while
 * training runs: {@code {"step": 1, "loss": …}} for a step, {@code {"evaluation": "validation", "step": 125, …}} for an
 * evaluation. An interrupt of the thread does not disturb the writing.
 */
public final class MetricsFile implements Closeable {
    private final OutputStream out;

    private MetricsFile(OutputStream out) {
        this.out = out;
    }

    public static MetricsFile append(Path file) throws IOException {
        return new MetricsFile(new FileOutputStream(file.toFile(), true)); // a channel would be closed by an interrupt
    }

    public void write(StepMetrics metrics) throws IOException {
        line(metrics.toMap());
    }

    /** @param split what was evaluated, such as "validation" */
    public void write(String split, long step, Evaluation evaluation) throws IOException {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("evaluation", split);
        map.put("step", step);
        map.putAll(evaluation.toMap());
        line(map);
    }

    private void line(Map<String, Object> map) throws IOException {
        out.write((RunJson.line(map) + "\n").getBytes(StandardCharsets.UTF_8));
    }

    @Override
    public void close() throws IOException {
        out.close();
    }
}
