package org.peft4j.run.files;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.SyntaxErrors;

/** What run.json and metrics.jsonl of a run say, read back for the report. Long runs are thinned while reading. */
public final class RunFiles {
    private static final ObjectMapper MAPPER = new ObjectMapper();

    public final JsonNode run;
    public final Curve loss = new Curve();
    public final Curve speed = new Curve();
    public final Map<String, Curve> rates = new LinkedHashMap<>();
    /** The evaluations in the order of the file. */
    public final List<JsonNode> evaluations = new ArrayList<>();

    public long steps;

    private RunFiles(JsonNode run) {
        this.run = run;
    }

    public static RunFiles read(RunDirectory directory) throws IOException {
        return read(directory, Files.readAllBytes(directory.runFile()));
    }

    /** With the given content of run.json. */
    public static RunFiles read(RunDirectory directory, byte[] json) throws IOException {
        Path file = directory.runFile();
        JsonNode run = tree(file, new String(json, StandardCharsets.UTF_8));
        if (!run.isObject()) {
            throw new MalformedFileException(file, -1, "expected a JSON object");
        }
        RunFiles files = new RunFiles(run);
        if (Files.exists(directory.metricsFile())) {
            try (BufferedReader lines = Files.newBufferedReader(directory.metricsFile())) {
                for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                    files.add(tree(directory.metricsFile(), line));
                }
            }
        }
        return files;
    }

    private static JsonNode tree(Path file, String json) throws IOException {
        try {
            return MAPPER.readTree(json);
        } catch (JacksonException e) {
            throw new MalformedFileException(file, -1, "not valid JSON: " + SyntaxErrors.describe(e), e);
        }
    }

    private void add(JsonNode line) {
        if (line.has("evaluation")) {
            evaluations.add(line);
            return;
        }
        double step = line.path("step").asDouble(Double.NaN);
        steps = Math.max(steps, line.path("step").asLong());
        loss.add(step, line.path("loss").asDouble(Double.NaN));
        speed.add(step, line.path("tokens_per_second").asDouble(Double.NaN));
        line.path("lr")
                .properties()
                .forEach(rate -> rates.computeIfAbsent(rate.getKey(), name -> new Curve())
                        .add(step, rate.getValue().asDouble(Double.NaN)));
    }

    /** The evaluations of one split, as a curve of one of their numbers. */
    public Curve evaluations(String split, String key) {
        Curve curve = new Curve();
        for (JsonNode line : evaluations) {
            if (line.path("evaluation").asText().equals(split)) {
                curve.add(line.path("step").asDouble(), line.path(key).asDouble(Double.NaN));
            }
        }
        return curve;
    }

    /** The splits in the order of their first evaluation, each with its last one. */
    public Map<String, JsonNode> lastEvaluations() {
        Map<String, JsonNode> last = new LinkedHashMap<>();
        evaluations.forEach(line -> last.put(line.path("evaluation").asText(), line));
        return last;
    }
}
