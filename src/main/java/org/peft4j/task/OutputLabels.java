package org.peft4j.task;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.Labels;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.AdapterFile;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.method.spi.PeftTensorNames;

/**
 * What a model's outputs are called: decided here and nowhere else, so that a class number means the same in training,
 * predicting, merging, and in the files that other programs read. The first of these that says something counts:
 *
 * <ol>
 *   <li>the caller's labels;
 *   <li>the adapter's, in its {@code peft4j.json};
 *   <li>the model's {@code id2label}, unless these are the placeholders that transformers invents ({@code LABEL_0} …), or
 *       the adapter brings a head of another size;
 *   <li>in training the labels that the data have, in the order of {@link Labels#sorted}; else placeholders.
 * </ol>
 */
public final class OutputLabels {
    private static final String NEW_HEAD = "train a new head: task.new_head: true (--set task.new_head=true)";

    private final ModelDirectory directory;
    private final @Nullable AdapterFile adapter;
    private final List<String> saved;
    private final String head;

    /**
     * @param saved labels that stand beside the adapter, or none
     * @param output path of the head's last layer, such as {@code classifier}
     */
    public OutputLabels(ModelDirectory directory, @Nullable AdapterFile adapter, List<String> saved, String output) {
        this.directory = directory;
        this.adapter = adapter;
        this.saved = saved;
        this.head = output + ".weight";
    }

    /** For a model that is used as it is. */
    public Labels forUse(List<String> chosen) {
        int outputs = outputs(false);
        if (!chosen.isEmpty()) {
            return fitting(Labels.of(chosen), outputs, "labels");
        }
        if (!saved.isEmpty()) {
            return fitting(Labels.of(saved), outputs, "the labels beside the adapter");
        }
        List<String> names = modelNames();
        if (!names.isEmpty() && (outputs == 0 || names.size() == outputs)) {
            return named(names);
        }
        return Labels.of(IntStream.range(0, outputs == 0 ? 2 : outputs)
                .mapToObj(i -> "LABEL_" + i)
                .toList());
    }

    private Labels fitting(Labels labels, int outputs, String whose) {
        if (outputs > 0 && outputs != labels.size()) {
            throw new ConfigException(whose + " are " + labels.size() + " names " + labels + ", but the "
                    + (adapterHead() > 0 ? "adapter's" : "model's") + " head has " + outputs
                    + " outputs; choose one name for each output");
        }
        return labels;
    }

    /**
     * For training.
     *
     * @param chosen the caller's labels, or none
     * @param newHead whether the model's head, and its names, do not count
     * @param file the rows' file
     * @param counts how often the rows have each label
     * @param notes collects what a user should know
     */
    public Labels forTraining(
            List<String> chosen, boolean newHead, Path file, Map<String, Long> counts, List<String> notes) {
        int outputs = outputs(newHead);
        Map<String, Long> found = Labels.sorted(counts);
        Labels labels = trained(chosen, newHead, outputs, file, found, notes);
        if (outputs > 0 && outputs != labels.size()) {
            throw new ConfigException(
                    adapterHead() > 0
                            ? "the adapter's head has " + outputs + " outputs, but there are " + labels.size()
                                    + " labels " + labels + "; give one label for each output (labels: …), or train"
                                    + " without an adapter to start from"
                            : "the model's head has " + outputs + " outputs, but there are " + labels.size()
                                    + " labels " + labels + "; " + NEW_HEAD
                                    + ", or give one label for each output (labels: …)");
        }
        List<String> numbers = found.keySet().stream().filter(labels::isOutput).toList();
        if (!numbers.isEmpty()) {
            notes.add(
                    "labels " + Labels.quoted(numbers) + " of the rows are taken for numbers of outputs of " + labels);
        }
        return labels;
    }

    private Labels trained(
            List<String> chosen, boolean newHead, int outputs, Path file, Map<String, Long> found, List<String> notes) {
        if (!saved.isEmpty()) {
            Labels kept = Labels.of(saved);
            if (!chosen.isEmpty() && !Labels.of(chosen).equals(kept)) {
                throw new ConfigException("labels are " + Labels.quoted(chosen) + ", but the adapter was trained with "
                        + kept + " and keeps them; leave labels out, or train without an adapter to start from");
            }
            return covering(
                    kept,
                    found,
                    "the adapter was trained with the labels ",
                    file,
                    "rename the rows' labels, or train without an adapter to start from");
        }
        if (!chosen.isEmpty()) {
            noteOtherOrder(chosen, newHead, notes);
            return Labels.of(chosen); // a row with another one is told by its line
        }
        List<String> names = newHead ? List.of() : modelNames();
        if (adapterHead() == 0 && outputs > 0 && !names.isEmpty() && names.size() != outputs) {
            throw wrong("id2label names " + names.size() + " classes " + Labels.quoted(names)
                    + ", but the model's head has " + outputs
                    + " outputs; give one label for each output (labels: …), or "
                    + NEW_HEAD);
        }
        if (!names.isEmpty() && (adapterHead() == 0 || adapterHead() == names.size())) {
            return covering(
                    named(names),
                    found,
                    "the model's config.json names the classes ",
                    file,
                    "if these classes are meant, name them as the rows do (labels: …, in the order of id2label), else "
                            + NEW_HEAD);
        }
        if (outputs > 0
                && found.keySet().stream().allMatch(Labels::isWhole)
                && found.keySet().stream().allMatch(label -> isBelow(label, outputs))) {
            return Labels.of(
                    IntStream.range(0, outputs).mapToObj(String::valueOf).toList());
        }
        if (adapter != null) {
            notes.add("the adapter does not say which output means which label; they are taken in this order: "
                    + Labels.quoted(found.keySet()) + " (labels: … gives another)");
        }
        return ofData(file, found);
    }

    private void noteOtherOrder(List<String> chosen, boolean newHead, List<String> notes) {
        List<String> names = newHead || modelHead() == 0 ? List.of() : modelNames();
        if (!names.equals(chosen) && names.size() == chosen.size() && chosen.containsAll(names)) {
            notes.add("labels " + Labels.quoted(chosen) + " are in another order than the model's id2label "
                    + Labels.quoted(names) + ": its trained head means the latter");
        }
    }

    private static Labels ofData(Path file, Map<String, Long> found) {
        List<String> names = List.copyOf(found.keySet());
        if (names.size() < 2) {
            throw new MalformedFileException(
                    file,
                    -1,
                    "expected at least two different labels, received only " + Labels.quoted(names)
                            + "; if that is meant, list them all: labels: [a, b]");
        }
        if (names.stream().allMatch(Labels::isNumber) && !names.stream().allMatch(Labels::isWhole)) {
            throw new MalformedFileException(
                    file,
                    -1,
                    "the labels are numbers with fractions " + Labels.quoted(names)
                            + "; if these are what is to be predicted, say so: task.problem: regression; if they are"
                            + " classes, list them: labels: ['0.5', …]");
        }
        return Labels.of(names);
    }

    private static boolean isBelow(String label, int outputs) {
        return !label.startsWith("-") && Long.parseLong(label) < outputs;
    }

    private static Labels covering(Labels labels, Map<String, Long> found, String whose, Path file, String remedy) {
        List<String> others = found.keySet().stream()
                .filter(label -> labels.find(label).isEmpty())
                .toList();
        if (!others.isEmpty()) {
            throw new ConfigException(whose + labels + ", but the rows of " + file + " have "
                    + Labels.quoted(found.keySet()) + "; " + remedy);
        }
        return labels;
    }

    /** How many outputs the head has that is there already; 0 if there is none. */
    public int outputs(boolean newHead) {
        int brought = adapterHead();
        return brought > 0 || newHead ? brought : modelHead();
    }

    /** How many outputs the adapter's own head has; 0 if it brings none. */
    public int adapterHead() {
        return adapter == null
                ? 0
                : PeftTensorNames.ending(adapter, head)
                        .map(head -> rows(head.shape()))
                        .orElse(0);
    }

    private int modelHead() {
        return directory.tensors().entrySet().stream()
                .filter(entry -> entry.getKey().equals(head) || entry.getKey().endsWith("." + head))
                .map(entry -> rows(entry.getValue().info().shape()))
                .findFirst()
                .orElse(0);
    }

    private static int rows(List<Long> shape) {
        return shape.size() == 2 ? (int) Math.min(Labels.MAX, shape.get(0)) : 0;
    }

    /** Names of the model's {@code id2label} in the order of the outputs; none if they are missing or placeholders. */
    private List<String> modelNames() {
        Object value = directory.config().get("id2label");
        if (value == null) {
            return List.of();
        }
        if (!(value instanceof Map<?, ?> map)) {
            throw wrong("id2label must be an object such as {\"0\": \"ham\", \"1\": \"spam\"}, got " + value);
        }
        TreeMap<Integer, String> sorted = new TreeMap<>();
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            String key = String.valueOf(entry.getKey());
            if (!key.matches("0|[1-9]\\d{0,5}")) {
                throw wrong("id2label must have the numbers of the outputs as keys, got '" + key + "'");
            }
            if (!(entry.getValue() instanceof String || entry.getValue() instanceof Number)) {
                throw wrong(
                        "id2label must give each output a name, got " + Json.shown(entry.getValue()) + " for " + key);
            }
            sorted.put(Integer.valueOf(key), String.valueOf(entry.getValue()));
        }
        if (!sorted.isEmpty() && sorted.lastKey() != sorted.size() - 1) {
            throw wrong("id2label must name the outputs 0 to " + (sorted.size() - 1) + ", got the numbers "
                    + sorted.keySet());
        }
        List<String> names = new ArrayList<>(sorted.values());
        boolean placeholders =
                IntStream.range(0, names.size()).allMatch(i -> names.get(i).equals("LABEL_" + i));
        return placeholders ? List.of() : names;
    }

    private Labels named(List<String> names) {
        try {
            return Labels.of(names);
        } catch (ConfigException e) {
            throw wrong("id2label: " + e.getMessage()
                    + "; give the classes other names in the order of the outputs (labels in a run file, --labels,"
                    + " Options.withLabels)");
        }
    }

    private MalformedFileException wrong(String reason) {
        return new MalformedFileException(directory.configFile(), -1, reason);
    }
}
