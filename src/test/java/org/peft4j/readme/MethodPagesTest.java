package org.peft4j.readme;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.math.BigDecimal;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.config.AdafactorConfig;
import org.peft4j.config.AdamWConfig;
import org.peft4j.config.DataConfig;
import org.peft4j.config.LionConfig;
import org.peft4j.config.LoraFaConfig;
import org.peft4j.config.MuonConfig;
import org.peft4j.config.OptimizerConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SgdConfig;
import org.peft4j.config.TrainingConfig;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.bottleneck.BottleneckConfig;
import org.peft4j.method.bottleneck.FusionConfig;
import org.peft4j.method.lora.InitLora;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.spi.Method;
import org.peft4j.method.spi.Methods;
import org.peft4j.method.spi.SavedModules;
import org.peft4j.method.xlora.XLoraConfig;
import org.peft4j.readme.MethodPages.Section;
import org.peft4j.readme.MethodPages.Yaml;
import org.peft4j.run.RunConfigFile;
import org.peft4j.train.LoadedRun;
import org.peft4j.train.RunRows;

/** The pages of methods have every method, and say what the code says; their run files fit their models. */
class MethodPagesTest {
    /** What the overview of methods says once for all of them. */
    private static final Set<String> COMMON =
            Set.of("type", "targets", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save");

    private static final Map<String, OptimizerConfig> OPTIMIZERS = Map.of(
            AdamWConfig.TYPE, AdamWConfig.defaults(),
            SgdConfig.TYPE, SgdConfig.defaults(),
            LionConfig.TYPE, LionConfig.defaults(),
            AdafactorConfig.TYPE, AdafactorConfig.defaults(),
            LoraFaConfig.TYPE, LoraFaConfig.defaults(),
            MuonConfig.TYPE, MuonConfig.defaults());

    private static List<Section> sections;
    private static ExampleModels models;

    @TempDir
    static Path directory;

    @BeforeAll
    static void open() throws IOException {
        sections = MethodPages.sections();
        models = new ExampleModels(directory);
        for (String data : List.of("spamassassin", "shakespeare", "chat")) {
            Path all = Path.of("src/examples/data", data, "train.jsonl");
            try (Stream<String> lines = Files.lines(all)) {
                Files.write(directory.resolve(data + ".jsonl"), lines.limit(16).toList());
            }
        }
    }

    @AfterAll
    static void close() {
        models.close();
    }

    private static RunConfig read(String runFile, String... overrides) {
        return RunConfigFile.read(MethodPages.RUN_FILES.resolve(runFile + ".yaml"), List.of(overrides));
    }

    static List<String> runFiles() throws IOException {
        return MethodPages.runFiles();
    }

    private static Section section(String title) {
        List<Section> found = sections.stream()
                .filter(section -> section.title().equals(title))
                .toList();
        assertThat(found).as("sections '%s' of %s", title, MethodPages.PAGES).hasSize(1);
        return found.get(0);
    }

    private static List<String> names(String kind) {
        return sections.stream()
                .flatMap(section -> section.names(kind).stream())
                .toList();
    }

    static List<String> methods() {
        return Methods.all().stream().map(Method::name).toList();
    }

    @ParameterizedTest
    @MethodSource("methods")
    void everyMethodHasASectionARowAndARunFile(String method) throws IOException {
        Section section = section(method);
        assertThat(Files.readAllLines(Path.of("README.md")))
                .as("rows of the README's table")
                .filteredOn(line ->
                        line.startsWith("| [`" + method + "`](" + section.page() + "#" + section.anchor() + ")"))
                .hasSize(1);
        assertThat(Files.readString(MethodPages.PAGES.resolve("README.md")))
                .contains("[`" + method + "`](" + section.page().getFileName() + "#" + section.anchor() + ")");
        assertThat(runFiles().stream()
                        .map(file -> Methods.of(read(file).chosenMethod()).name()))
                .as("methods of run files")
                .contains(method);
    }

    @Test
    void everyNamedConfigurationHasASectionAndARunFile() throws IOException {
        Map<String, MethodConfig> named = new LinkedHashMap<>();
        Methods.all().forEach(method -> named.putAll(method.namedSettings()));
        assertThat(names("config")).containsExactlyInAnyOrderElementsOf(named.keySet());
        List<String> used = new ArrayList<>();
        for (String file : runFiles()) {
            MethodPages.shown(file)
                    .lines()
                    .filter(line -> line.startsWith("  config: "))
                    .forEach(line -> used.add(line.substring("  config: ".length())));
        }
        assertThat(used.stream().map(named::get).distinct())
                .containsAll(new TreeSet<>(named.keySet())
                        .stream().map(named::get).distinct().toList());
    }

    @Test
    void everyStartHasASectionAndARunFile() throws IOException {
        List<String> starts =
                Stream.of(InitLora.values()).map(MethodPagesTest::word).toList();
        assertThat(names("init")).containsExactlyInAnyOrderElementsOf(starts);
        List<String> used = new ArrayList<>();
        for (String file : runFiles()) {
            if (read(file).chosenMethod() instanceof LoraConfig lora) {
                used.add(word(lora.init()));
            }
        }
        assertThat(used).containsAll(starts);
    }

    private static String word(Enum<?> value) {
        return value.name().toLowerCase(Locale.ROOT);
    }

    @ParameterizedTest
    @MethodSource("methods")
    void settingsAndDefaultsAreThoseOfTheCode(String method) {
        MethodConfig defaults = Methods.all().stream()
                .filter(one -> one.name().equals(method))
                .findFirst()
                .orElseThrow()
                .defaults();
        settingsAre(section(method), RunConfigFile.methodMap(defaults), COMMON);
    }

    @Test
    void thoseOfOptimisersAreToo() throws IOException {
        for (Map.Entry<String, OptimizerConfig> optimizer : OPTIMIZERS.entrySet()) {
            RunConfig run = RunConfig.builder()
                    .model(Path.of("m"))
                    .data(new DataConfig(Path.of("t.jsonl"), null))
                    .method(LoraConfig.defaults())
                    .training(TrainingConfig.builder()
                            .optimizer(optimizer.getValue())
                            .build())
                    .output(Path.of("o"))
                    .build();
            Map<?, ?> training = (Map<?, ?>) RunConfigFile.toMap(run).get("training");
            settingsAre(section(optimizer.getKey()), (Map<?, ?>) training.get("optimizer"), Set.of("type"));
        }
        assertThat(OPTIMIZERS.values().stream().map(Object::getClass))
                .containsExactlyInAnyOrder(OptimizerConfig.class.getPermittedSubclasses());
        Set<String> used = runFiles().stream()
                .map(file -> read(file).training().optimizer().type())
                .collect(Collectors.toSet());
        assertThat(used).isEqualTo(OPTIMIZERS.keySet());
    }

    /** A value of the code stands as code; where it is empty, words may say what that means. */
    private static void settingsAre(Section section, Map<?, ?> code, Set<String> without) {
        Map<String, String> page = section.settings();
        Map<String, String> expected = new LinkedHashMap<>();
        code.forEach((name, value) -> {
            String said = page.getOrDefault(String.valueOf(name), "");
            if (!without.contains(String.valueOf(name))) {
                String written = written(value);
                expected.put(
                        String.valueOf(name),
                        written == null && !said.matches("(`[^`]*`)?") ? said : "`" + written + "`");
            }
        });
        assertThat(page)
                .as("settings of '%s' in %s", section.title(), section.page())
                .isEqualTo(expected);
    }

    private static @Nullable String written(@Nullable Object value) {
        if (value instanceof Map<?, ?> map) {
            return map.isEmpty()
                    ? null
                    : map.entrySet().stream()
                            .map(entry -> entry.getKey() + ": " + written(entry.getValue()))
                            .collect(Collectors.joining(", ", "{", "}"));
        }
        if (value instanceof List<?> list) {
            return list.isEmpty() ? null : list.toString();
        }
        if (value instanceof Double number) {
            String plain =
                    new BigDecimal(number.toString()).stripTrailingZeros().toPlainString();
            return Math.abs(number) < 1e-3 && number != 0
                    ? number.toString().replace(".0E", "e").replace("E", "e")
                    : plain;
        }
        return value == null || value.equals("") ? null : String.valueOf(value);
    }

    @Test
    void blocksAreThoseOfRunFilesAndEachFileIsShown() throws IOException {
        List<String> files = new ArrayList<>();
        for (Yaml block : MethodPages.allYaml()) {
            if (block.file() != null) {
                files.add(block.file());
                assertThat(block.text())
                        .as("%s in %s", block.file(), block.page())
                        .isEqualTo(MethodPages.shown(block.file()));
            }
        }
        assertThat(files).containsExactlyInAnyOrderElementsOf(runFiles());
    }

    /** Each is put into a run file; alternatives stand below each other, each a line. */
    @Test
    void otherBlocksAreReadAsPartsOfRunFiles() throws IOException {
        int read = 0;
        for (Yaml block : MethodPages.allYaml()) {
            if (block.file() != null) {
                continue;
            }
            List<String> lines = block.text().lines().toList();
            boolean alternatives =
                    lines.stream().filter(line -> line.startsWith("method:")).count() > 1;
            for (String part : alternatives ? lines : List.of(block.text())) {
                StringBuilder file = new StringBuilder(part).append('\n');
                Map.of("model", "m", "output", "o", "data", "{train: t.jsonl}", "method", "{type: lora}")
                        .forEach((key, value) -> {
                            if (part.lines().noneMatch(line -> line.startsWith(key + ":"))) {
                                file.append(key).append(": ").append(value).append('\n');
                            }
                        });
                Path written = Files.writeString(directory.resolve("part.yaml"), file);
                assertThat(RunConfigFile.read(written, List.of()))
                        .as("%s", part)
                        .isNotNull();
                read++;
            }
        }
        assertThat(read).isPositive();
    }

    @Test
    void linksLeadSomewhere() throws IOException {
        List<Path> pages = new ArrayList<>(MethodPages.pages());
        Stream.of("README.md", "CONTRIBUTING.md", "docs/language-models.md", "src/examples/README.md", "cuda/README.md")
                .map(Path::of)
                .forEach(pages::add);
        for (Path page : pages) {
            for (String link : MethodPages.links(page)) {
                String[] parts = link.split("#", 2);
                Path to = parts[0].isEmpty()
                        ? page
                        : page.resolveSibling(parts[0]).normalize();
                assertThat(to).as("link %s of %s", link, page).exists();
                if (parts.length == 2) {
                    assertThat(MethodPages.sections(to).stream().map(Section::anchor))
                            .as("link %s of %s", link, page)
                            .contains(parts[1]);
                }
            }
        }
    }

    /** It is loaded as a run is, with sixteen rows of its data, up to its first step. */
    @ParameterizedTest
    @MethodSource("runFiles")
    void everyRunFileFitsItsModel(String file) throws Exception {
        Yaml shown = MethodPages.allYaml().stream()
                .filter(block -> file.equals(block.file()))
                .findFirst()
                .orElseThrow(() -> new AssertionError(file + " is on no page"));
        RunConfig written = read(file);
        Path data = directory.resolve(written.data().train().getParent().getFileName() + ".jsonl");
        List<String> overrides = new ArrayList<>(List.of(
                "data.train=" + data,
                "data.validation=null",
                "training.epochs=100", // AdaLoRA wants as many steps as the data give
                "output=" + directory.resolve("none")));
        if (written.model().path().equals(Path.of(ExampleModels.MINILM))) {
            overrides.add("task.max_length=48");
        }
        if (written.chosenMethod() instanceof XLoraConfig xlora) {
            for (String name : xlora.adapters().keySet()) {
                overrides.add("method.adapters." + name + "=" + models.lora(file + "-" + name));
            }
        }
        if (written.chosenMethod() instanceof FusionConfig fusion) {
            for (String name : fusion.adapters().keySet()) {
                overrides.add("method.adapters." + name + "="
                        + models.bottleneck(file + "-" + name, written.model().path(), BottleneckConfig.seqBn()));
            }
        }
        if (!written.frozenAdapters().isEmpty()) {
            overrides.add("frozen_adapters=["
                    + models.bottleneck(file + "-below", written.model().path(), BottleneckConfig.seqBnInv()) + "]");
        }
        RunConfig config = read(file, overrides.toArray(String[]::new));
        boolean own = written.chosenMethod().layerReplication().ranges().isEmpty();
        try (LoadedRun<?> run =
                LoadedRun.load(config, own ? models.of(written.model().path()) : null, RunRows.of(config.data()))) {
            Set<String> groups = new TreeSet<>();
            long[] numbers = new long[1];
            run.groups.stream()
                    .filter(group -> !group.name().equals(SavedModules.GROUP))
                    .forEach(group -> {
                        groups.add(group.name());
                        group.parameters().forEach(parameter -> numbers[0] += parameter.elements());
                    });
            if (groups.isEmpty()) { // a new head, which is trained in any run
                run.groups.forEach(
                        group -> group.parameters().forEach(parameter -> numbers[0] += parameter.elements()));
            }
            assertThat(shown.trains())
                    .as("numbers that %s trains, in %s", file, shown.page())
                    .isEqualTo(
                            String.format(Locale.ROOT, "%,d", movesRanks(config) ? counted(run, config) : numbers[0]));
            String said =
                    String.join("\n", section(Methods.of(run.method).name()).lines());
            assertThat(groups)
                    .as("what is said of groups")
                    .allSatisfy(group -> assertThat(said).contains("`" + group + "`"));
        }
    }

    /** EVA's ranks go where the data want them: only their sum is known before. */
    private static boolean movesRanks(RunConfig config) {
        return config.method() instanceof LoraConfig lora && lora.init() == InitLora.EVA;
    }

    private static long counted(LoadedRun<?> run, RunConfig config) {
        return counted(Methods.of(config.chosenMethod()), config.chosenMethod(), run);
    }

    private static <C extends MethodConfig> long counted(Method<C> method, MethodConfig config, LoadedRun<?> run) {
        return method.parameterCount(method.configType().cast(config), run.model.points());
    }
}
