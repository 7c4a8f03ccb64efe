package org.peft4j;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideOutsideOfPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.library.dependencies.SliceAssignment;
import com.tngtech.archunit.library.dependencies.SliceIdentifier;
import java.io.IOException;
import java.io.InputStream;
import java.lang.module.ModuleDescriptor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The table of layers, and what users of the library see. A new layer is a row in {@link #KNOWS}. */
class ArchitectureTest {
    private static final JavaClasses CLASSES = new ClassFileImporter()
            .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
            .importPackages("org.peft4j");

    /** Packages that every layer may use, and that know at most how errors are told. */
    private static final List<String> BOTTOM = List.of("error", "host", "lifetime", "random");

    /** Layer (a package below org.peft4j) and the other layers that it may use, beside {@link #BOTTOM}, which all know. */
    private static final Map<String, List<String>> KNOWS = new TreeMap<>(Map.ofEntries(
            Map.entry("cli", List.of("", "config", "run", "metrics", "report", "bench", "info", "method", "io")),
            Map.entry(
                    "",
                    List.of(
                            "config",
                            "run",
                            "metrics",
                            "train",
                            "task",
                            "generate",
                            "model",
                            "method",
                            "data",
                            "nn",
                            "io")),
            Map.entry(
                    "bench",
                    List.of(
                            "config",
                            "run",
                            "info",
                            "train",
                            "generate",
                            "task",
                            "model",
                            "method",
                            "optim",
                            "data",
                            "nn",
                            "ops")),
            Map.entry("report", List.of("config", "run", "metrics", "info", "io")),
            Map.entry("info", List.of("config", "run", "model", "method", "nn", "io", "ops")),
            Map.entry(
                    "train",
                    List.of(
                            "config", "run", "report", "info", "metrics", "task", "model", "method", "optim", "data",
                            "io", "nn", "ops")),
            Map.entry("task", List.of("config", "metrics", "model", "method", "data", "io", "nn", "ops")),
            Map.entry("metrics", List.of()),
            Map.entry("run", List.of("config", "metrics", "method", "data", "io")),
            Map.entry("config", List.of("method", "io")),
            Map.entry("method", List.of("nn", "ops", "io")),
            Map.entry("generate", List.of("model", "nn", "ops")),
            Map.entry("model", List.of("nn", "ops", "io")),
            Map.entry("nn", List.of("ops")),
            Map.entry("optim", List.of("nn", "ops")),
            Map.entry("data", List.of("io")),
            Map.entry("io", List.of()),
            Map.entry("ops", List.of())));

    /** Every public type that users are meant to use. Few, documented, and each a promise. */
    private static final Map<String, Set<String>> API = Map.ofEntries(
            Map.entry(
                    "org.peft4j.error",
                    names("ConfigException DeviceException MalformedFileException Peft4jException TrainingException")),
            Map.entry(
                    "org.peft4j",
                    names(
                            "BaseModel Chat Combine Composition Convert LoadedAdapter Merge RowComposition RowPreview TextClassifier TextEmbedder"
                                    + " TextGenerator TokenTagger Trainer TrainingHandle")),
            Map.entry(
                    "org.peft4j.metrics",
                    names("ClassMetrics EntityScores Evaluation MetricNames MultiLabelMetrics RegressionMetrics"
                            + " TagAccuracy")),
            Map.entry("org.peft4j.bench", names("Benchmark")),
            Map.entry(
                    "org.peft4j.config",
                    names(
                            "AdafactorConfig AdamWConfig CausalLmConfig DataConfig Dtype EmbeddingConfig GroupOverride LionConfig"
                                    + " LoraFaConfig ModelConfig MuonConfig OptimizerConfig Pooling SgdConfig"
                                    + " ProblemType RunConfig Schedule ScheduleConfig SequenceClassificationConfig TaskConfig"
                                    + " TaskId TokenClassificationConfig TrainingConfig")),
            Map.entry("org.peft4j.info", names("Machine MethodOverview")),
            Map.entry("org.peft4j.report", names("Report")),
            Map.entry("org.peft4j.run", names("RunConfigFile RunResult RunSummary StepMetrics TrainListener")),
            Map.entry(
                    "org.peft4j.method",
                    names(
                            "InitRational LayerChoice LayerReplication LinearMethodConfig MethodConfig ModelPart ModelParts ModulePattern"
                                    + " Projection PromptInit PromptStart Ranks TargetLayers Targets UsualTargets")),
            Map.entry(
                    "org.peft4j.method.lora",
                    names("Bias Combination CordaConfig DataStart EvaConfig InitLora LoraConfig LoraGaConfig"
                            + " LoraLayers LoraTargets")),
            Map.entry("org.peft4j.method.prefix", names("InitPrefix PrefixConfig")),
            Map.entry("org.peft4j.method.adalora", names("AdaLoraConfig RankBudget RankImportance")),
            Map.entry("org.peft4j.method.adaption", names("AdaptionPromptConfig")),
            Map.entry("org.peft4j.method.bitfit", names("BitFitConfig")),
            Map.entry(
                    "org.peft4j.method.bottleneck",
                    names(
                            "BottleneckConfig BottleneckLora BottleneckPrefix FusionConfig InitBottleneck InvertibleAdapter"
                                    + " OriginalNorms PhmConfig ReductionFactor Scaling")),
            Map.entry("org.peft4j.method.cpt", names("CptConfig LossWeights")),
            Map.entry("org.peft4j.method.dept", names("DeptConfig")),
            Map.entry("org.peft4j.method.ept", names("EptConfig")),
            Map.entry(
                    "org.peft4j.method.iapt",
                    names("IaptConfig InitPrompt PromptInsertion PromptPositions RationalVersion")),
            Map.entry("org.peft4j.method.ia3", names("Ia3Config")),
            Map.entry("org.peft4j.method.multitask", names("MultitaskPromptConfig PromptSource SourceTasks")),
            Map.entry("org.peft4j.method.prompt", names("PromptConfig")),
            Map.entry("org.peft4j.method.ptuning", names("Encoder PTuningConfig")),
            Map.entry("org.peft4j.method.tokens", names("TrainableTokensConfig")),
            Map.entry("org.peft4j.method.hira", names("HiraConfig InitHira")),
            Map.entry("org.peft4j.method.loha", names("LoHaConfig")),
            Map.entry("org.peft4j.method.lokr", names("InitLoKr LoKrConfig")),
            Map.entry("org.peft4j.method.randlora", names("Bases RandLoraConfig Sparsity")),
            Map.entry("org.peft4j.method.shira", names("ShiraConfig")),
            Map.entry("org.peft4j.method.vblora", names("VbLoraConfig VectorBank")),
            Map.entry("org.peft4j.method.oft", names("Cayley OftBlocks OftConfig")),
            Map.entry("org.peft4j.method.boft", names("BoftBlocks BoftConfig")),
            Map.entry("org.peft4j.method.hra", names("HraConfig")),
            Map.entry("org.peft4j.method.reft", names("ReftConfig ReftLayers")),
            Map.entry("org.peft4j.method.road", names("RoadConfig RoadVariant")),
            Map.entry("org.peft4j.method.miss", names("MissConfig MissVariant")),
            Map.entry("org.peft4j.method.c3a", names("BlockSizes C3aConfig InitC3a")),
            Map.entry("org.peft4j.method.fourierft", names("FourierFtConfig Frequencies")),
            Map.entry("org.peft4j.method.gralora", names("GraloraConfig GraloraRanks")),
            Map.entry("org.peft4j.method.poly", names("PolyConfig PolyType Skills")),
            Map.entry("org.peft4j.method.full", names("FullConfig")),
            Map.entry("org.peft4j.method.hft", names("HftConfig")),
            Map.entry("org.peft4j.method.osf", names("OsfConfig")),
            Map.entry("org.peft4j.method.list", names("ListConfig")),
            Map.entry("org.peft4j.method.lntuning", names("LnTuningConfig")),
            Map.entry("org.peft4j.method.vera", names("VeraConfig")),
            Map.entry("org.peft4j.method.xlora", names("XLoraConfig")));

    static Stream<String> layers() {
        return KNOWS.keySet().stream();
    }

    @ParameterizedTest
    @MethodSource("layers")
    void layerUsesOnlyWhatItsRowLists(String layer) {
        String[] forbidden = KNOWS.keySet().stream()
                .filter(other -> !other.equals(layer) && !KNOWS.get(layer).contains(other))
                .map(ArchitectureTest::packages)
                .toArray(String[]::new);
        noClasses()
                .that()
                .resideInAPackage(packages(layer))
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage(forbidden)
                .as(layer + " uses only " + KNOWS.get(layer))
                .allowEmptyShould(true)
                .check(CLASSES);
    }

    /** The front is the package org.peft4j alone. */
    private static String packages(String layer) {
        return layer.isEmpty() ? "org.peft4j" : "org.peft4j." + layer + "..";
    }

    @Test
    void theBottomKnowsNothingAbove() {
        for (String name : BOTTOM) {
            noClasses()
                    .that()
                    .resideInAPackage("org.peft4j." + name)
                    .should()
                    .dependOnClassesThat(resideInAPackage("org.peft4j..")
                            .and(resideOutsideOfPackage("org.peft4j." + name))
                            .and(resideOutsideOfPackage("org.peft4j.error")))
                    .check(CLASSES);
        }
    }

    @Test
    void everyPackageBelongsToALayer() {
        Set<String> unknown = CLASSES.stream()
                .map(JavaClass::getPackageName)
                .filter(name -> !name.equals("org.peft4j")) // module-info
                .map(name -> name.replaceFirst("org\\.peft4j\\.", "").replaceFirst("\\..*", ""))
                .filter(layer -> !KNOWS.containsKey(layer) && !BOTTOM.contains(layer))
                .collect(Collectors.toCollection(TreeSet::new));
        assertThat(unknown).as("layers without a row in KNOWS").isEmpty();
    }

    /** A method's settings and what it does with them are one slice: method.lora and method.spi.lora. */
    @Test
    void noMethodKnowsAnother() {
        Pattern method = Pattern.compile("org\\.peft4j\\.method\\.(?:spi\\.)?(?!spi$|spi\\.)(\\w+)(\\..*)?");
        slices().assignedFrom(new SliceAssignment() {
                    @Override
                    public SliceIdentifier getIdentifierOf(JavaClass type) {
                        Matcher matcher = method.matcher(type.getPackageName());
                        return matcher.matches() ? SliceIdentifier.of(matcher.group(1)) : SliceIdentifier.ignore();
                    }

                    @Override
                    public String getDescription() {
                        return "methods";
                    }
                })
                .should()
                .notDependOnEachOther()
                .check(CLASSES);
    }

    @Test
    void settingsOfMethodsKnowNotWhatIsDoneWithThem() {
        noClasses()
                .that()
                .resideInAPackage("org.peft4j.method..")
                .and()
                .resideOutsideOfPackage("org.peft4j.method.spi..")
                .should()
                .dependOnClassesThat()
                .resideInAPackage("org.peft4j.method.spi..")
                .check(CLASSES);
    }

    @Test
    void noBackboneKnowsAnother() {
        slices().matching("org.peft4j.model.(*)..")
                .should()
                .notDependOnEachOther()
                .allowEmptyShould(true)
                .check(CLASSES);
    }

    @Test
    void onlyOpsBindsNativeCode() {
        noClasses()
                .that()
                .resideOutsideOfPackage("org.peft4j.ops..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage("org.bytedeco.javacpp.annotation..", "org.bytedeco.javacpp.tools..")
                .check(CLASSES);
    }

    @Test
    void commandLineDataAndFilesKnowNoTensor() {
        noClasses()
                .that()
                .resideInAnyPackage("org.peft4j.cli..", "org.peft4j.data..", "org.peft4j.io..")
                .should()
                .dependOnClassesThat()
                .resideInAPackage("org.bytedeco..")
                .allowEmptyShould(true)
                .check(CLASSES);
    }

    @Test
    void libraryNeitherPrintsNorExits() {
        noClasses()
                .that()
                .resideOutsideOfPackage("org.peft4j.cli..")
                .should()
                .accessField(System.class, "out")
                .orShould()
                .accessField(System.class, "err")
                .orShould()
                .callMethod(System.class, "exit", int.class)
                .check(CLASSES);
    }

    @Test
    void publicTypesOfExportedPackagesAreTheDocumentedOnes() throws IOException {
        Map<String, Set<String>> found = new TreeMap<>();
        for (String exported : exportedPackages()) {
            found.put(
                    exported,
                    publicTypes(exported).map(JavaClass::getSimpleName).collect(Collectors.toCollection(TreeSet::new)));
        }
        Map<String, Set<String>> expected = new TreeMap<>();
        API.forEach((name, types) -> expected.put(name, new TreeSet<>(types)));
        assertThat(found)
                .as("a new public type belongs into API, or into a package that is not exported")
                .isEqualTo(expected);
    }

    @Test
    void exportedPackagesAreNullMarked() throws IOException {
        for (String exported : exportedPackages()) {
            assertThat(CLASSES.getPackage(exported).isAnnotatedWith("org.jspecify.annotations.NullMarked"))
                    .as("@NullMarked in package-info of %s", exported)
                    .isTrue();
        }
    }

    /** Configs, Trainer and results are plain Java: no tensor, and nothing from a package that users cannot import. */
    @Test
    void signaturesThatUsersSeeNameOnlyWhatTheyCanImport() throws IOException {
        Set<String> exported = exportedPackages();
        Set<String> hidden = new TreeSet<>();
        for (String name : exported) {
            publicTypes(name)
                    .filter(type -> API.get(name).contains(type.getSimpleName()))
                    .forEach(type -> signature(type)
                            .filter(used -> used.getPackageName().startsWith("org.bytedeco")
                                    || (used.getPackageName().startsWith("org.peft4j")
                                            && !exported.contains(used.getPackageName())))
                            .forEach(used -> hidden.add(type.getName() + " shows " + used.getName())));
        }
        assertThat(hidden).isEmpty();
    }

    /** More would be read by their position; a builder gives each its name, and keeps the keys of a run file flat. */
    @Test
    void recordsHaveAtMostSixComponentsOrABuilder() {
        Set<String> wide = CLASSES.stream()
                .filter(JavaClass::isRecord)
                .filter(type -> type.getFields().stream()
                                .filter(field -> !field.getModifiers().contains(JavaModifier.STATIC))
                                .count()
                        > 6)
                .filter(type -> !CLASSES.contain(type.getName() + "$Builder"))
                .map(JavaClass::getName)
                .filter(name -> !name.equals("org.peft4j.data.template.ChatTemplate$Inputs")) // has a with… for each
                .collect(Collectors.toCollection(TreeSet::new));
        assertThat(wide)
                .as("records with more than six components, to be nested or given a builder")
                .isEmpty();
    }

    private static Set<String> names(String words) {
        return Set.of(words.split(" ", -1));
    }

    private static Stream<JavaClass> publicTypes(String packageName) {
        return CLASSES.stream()
                .filter(type -> type.getPackageName().equals(packageName)
                        && type.isTopLevelClass()
                        && type.getModifiers().contains(JavaModifier.PUBLIC));
    }

    private static Stream<JavaClass> signature(JavaClass type) {
        return Stream.concat(
                type.getCodeUnits().stream()
                        .filter(unit -> unit.getModifiers().contains(JavaModifier.PUBLIC))
                        .flatMap(unit -> Stream.concat(
                                unit.getRawParameterTypes().stream(), Stream.of(unit.getRawReturnType()))),
                type.getFields().stream()
                        .filter(field -> field.getModifiers().contains(JavaModifier.PUBLIC))
                        .map(field -> field.getRawType()));
    }

    private static Set<String> exportedPackages() throws IOException {
        try (InputStream file = Files.newInputStream(Path.of("target/classes/module-info.class"))) {
            return ModuleDescriptor.read(file).exports().stream()
                    .filter(export -> !export.isQualified())
                    .map(ModuleDescriptor.Exports::source)
                    .collect(Collectors.toCollection(TreeSet::new));
        }
    }
}
