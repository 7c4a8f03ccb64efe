package org.peft4j.readme;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Pages of documentation, read as far as tests want it: headings with what stands below them, YAML, tables of settings, links. */
final class MethodPages {
    static final Path PAGES = Path.of("docs/methods");
    static final Path RUN_FILES = Path.of("src/examples/methods");

    private static final Pattern HEADING = Pattern.compile("(#+) (.*)");
    private static final Pattern LINK = Pattern.compile("]\\(([^)\\s]+)\\)");
    private static final Pattern SETTING = Pattern.compile("\\| `([a-z0-9_]+)` \\| (.*?) \\|.*");
    private static final Pattern SHOWN = Pattern.compile("\\[src/examples/methods/([^]]+)\\.yaml]\\(.*");
    private static final Pattern TRAINS = Pattern.compile("trains ([0-9,]+) numbers");

    private MethodPages() {}

    /**
     * A heading and what stands below it, up to the next one of the same level or a higher one.
     *
     * @param level number of its signs
     * @param anchor as GitHub makes it
     */
    record Section(Path page, int level, String title, String anchor, List<String> lines) {
        /** The names that a title such as {@code config: seq_bn, pfeiffer} gives; none if it begins otherwise. */
        List<String> names(String kind) {
            return title.startsWith(kind + ": ")
                    ? List.of(title.substring(kind.length() + 2).split(", "))
                    : List.of();
        }

        /** Settings of its tables, with what is said of their defaults. */
        Map<String, String> settings() {
            Map<String, String> settings = new LinkedHashMap<>();
            boolean table = false;
            for (String line : lines) {
                table = line.startsWith("| setting | default |") || table && line.startsWith("|");
                Matcher row = SETTING.matcher(line);
                if (table && row.matches()) {
                    settings.put(row.group(1), row.group(2));
                }
            }
            return settings;
        }
    }

    /**
     * A block of YAML.
     *
     * @param file the run file that it is said to be of, by its name; null: of none
     * @param trains how many numbers the text says it trains; null: it says nothing
     */
    record Yaml(Path page, @Nullable String file, @Nullable String trains, String text) {}

    /** Of methods. */
    static List<Path> pages() throws IOException {
        try (Stream<Path> files = Files.list(PAGES)) {
            return files.filter(file -> file.toString().endsWith(".md"))
                    .sorted()
                    .toList();
        }
    }

    /** Their sections. */
    static List<Section> sections() throws IOException {
        List<Section> sections = new ArrayList<>();
        for (Path page : pages()) {
            sections.addAll(sections(page));
        }
        return sections;
    }

    static List<Section> sections(Path page) throws IOException {
        List<Section> all = new ArrayList<>();
        List<Section> open = new ArrayList<>();
        Map<String, Integer> anchors = new HashMap<>();
        boolean code = false;
        for (String line : Files.readAllLines(page)) {
            code ^= line.startsWith("```");
            Matcher heading = HEADING.matcher(line);
            if (!code && heading.matches()) {
                int level = heading.group(1).length();
                open.removeIf(section -> section.level() >= level);
                String anchor = anchor(heading.group(2));
                int same = anchors.merge(anchor, 1, Integer::sum);
                Section section = new Section(
                        page,
                        level,
                        heading.group(2),
                        same == 1 ? anchor : anchor + "-" + (same - 1),
                        new ArrayList<>());
                all.add(section);
                open.add(section);
            } else {
                open.forEach(section -> section.lines().add(line));
            }
        }
        return all;
    }

    /** GitHub's. */
    private static String anchor(String title) {
        return title.toLowerCase(Locale.ROOT)
                .replaceAll("]\\([^)]*\\)", "")
                .replaceAll("[^\\p{L}\\p{N}_ -]", "")
                .replace(' ', '-');
    }

    /** The blocks of a page. */
    static List<Yaml> yaml(Path page) throws IOException {
        List<Yaml> blocks = new ArrayList<>();
        String file = null;
        String trains = null;
        StringBuilder block = null;
        for (String line : Files.readAllLines(page)) {
            Matcher shown = SHOWN.matcher(line);
            if (block != null && line.equals("```")) {
                blocks.add(new Yaml(page, file, trains, block.toString()));
                block = null;
                file = null;
                trains = null;
            } else if (block != null) {
                block.append(line).append('\n');
            } else if (line.equals("```yaml")) {
                block = new StringBuilder();
            } else if (shown.matches()) {
                file = shown.group(1);
                Matcher number = TRAINS.matcher(line);
                trains = number.find() ? Objects.requireNonNull(number.group(1)) : null;
            }
        }
        return blocks;
    }

    /** Those of all pages of methods. */
    static List<Yaml> allYaml() throws IOException {
        List<Yaml> blocks = new ArrayList<>();
        for (Path page : pages()) {
            blocks.addAll(yaml(page));
        }
        return blocks;
    }

    /** What a page shows of a run file: its method and its training. */
    static String shown(String runFile) throws IOException {
        String text = Files.readString(RUN_FILES.resolve(runFile + ".yaml"));
        return text.substring(text.indexOf("\nmethod:") + 1, text.indexOf("\noutput:"));
    }

    /** The names of all run files of methods. */
    static List<String> runFiles() throws IOException {
        try (Stream<Path> files = Files.list(RUN_FILES)) {
            return files.map(file -> file.getFileName().toString().replace(".yaml", ""))
                    .sorted()
                    .toList();
        }
    }

    /** Links of a page to files of the project, as they are written; links in code are none. */
    static List<String> links(Path page) throws IOException {
        List<String> links = new ArrayList<>();
        boolean code = false;
        for (String line : Files.readAllLines(page)) {
            code ^= line.startsWith("```");
            Matcher link = LINK.matcher(code ? "" : line.replaceAll("`[^`]*`", "`"));
            while (link.find()) {
                if (!link.group(1).contains("://")) {
                    links.add(link.group(1));
                }
            }
        }
        return links;
    }
}
