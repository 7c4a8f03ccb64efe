package org.peft4j;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.assertj.core.api.Assertions.assertThat;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
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

    /** Layer (a package below org.peft4j) and the other layers that it may use. */
    private static final Map<String, List<String>> KNOWS = new TreeMap<>(Map.of(
            "cli", List.of("train", "serve", "method", "io"),
            "train", List.of("model", "method", "optim", "data", "io", "nn", "ops"),
            "serve", List.of("model", "method", "optim", "data", "io", "nn", "ops"),
            "method", List.of("nn", "ops", "io"),
            "model", List.of("nn", "ops", "io"),
            "nn", List.of("ops"),
            "optim", List.of("nn", "ops"),
            "data", List.of("io"),
            "io", List.of(),
            "ops", List.of()));

    /**
     * Every public type that users see. Few, and each a promise: a type that only our own packages need belongs into a
     * package that is not exported.
     */
    private static final Map<String, Set<String>> API = Map.of(
            "org.peft4j.train",
            Set.of(
                    "DataConfig",
                    "Evaluation",
                    "GroupOverride",
                    "Metrics",
                    "MetricsFile",
                    "ModelConfig",
                    "RunConfig",
                    "RunConfigFile",
                    "RunDirectory",
                    "RunResult",
                    "RunSummary",
                    "StepMetrics",
                    "Task",
                    "TrainListener",
                    "TrainingConfig"),
            "org.peft4j.method",
            Set.of("MethodConfig", "ModulePattern", "PeftType", "Targets"),
            "org.peft4j.method.lora",
            Set.of("Bias", "InitLora", "LoraConfig", "LoraLayers", "LoraTargets"),
            "org.peft4j.method.prefix",
            Set.of("InitPrefix", "PrefixConfig"));

    /** Waits for Schedule to move into an exported package. */
    private static final Set<String> KNOWN_LEAKS =
            Set.of("org.peft4j.train.TrainingConfig shows org.peft4j.optim.Schedule");

    static Stream<String> layers() {
        return KNOWS.keySet().stream();
    }

    @ParameterizedTest
    @MethodSource("layers")
    void layerUsesOnlyWhatItsRowLists(String layer) {
        String[] forbidden = KNOWS.keySet().stream()
                .filter(other -> !other.equals(layer) && !KNOWS.get(layer).contains(other))
                .map(other -> "org.peft4j." + other + "..")
                .toArray(String[]::new);
        noClasses()
                .that()
                .resideInAPackage("org.peft4j." + layer + "..")
                .should()
                .dependOnClassesThat()
                .resideInAnyPackage(forbidden)
                .as(layer + " uses only " + KNOWS.get(layer))
                .allowEmptyShould(true)
                .check(CLASSES);
    }

    @Test
    void everyPackageBelongsToALayer() {
        Set<String> unknown = CLASSES.stream()
                .map(JavaClass::getPackageName)
                .filter(name -> !name.equals("org.peft4j")) // module-info
                .map(name -> name.replaceFirst("org\\.peft4j\\.", "").replaceFirst("\\..*", ""))
                .filter(layer -> !KNOWS.containsKey(layer))
                .collect(Collectors.toCollection(TreeSet::new));
        assertThat(unknown).as("layers without a row in KNOWS").isEmpty();
    }

    @Test
    void noMethodKnowsAnother() {
        slices().matching("org.peft4j.method.(*)..")
                .should()
                .notDependOnEachOther()
                .allowEmptyShould(true)
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
        assertThat(found).isEqualTo(API);
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
                    .forEach(type -> signature(type)
                            .filter(used -> used.getPackageName().startsWith("org.bytedeco")
                                    || (used.getPackageName().startsWith("org.peft4j")
                                            && !exported.contains(used.getPackageName())))
                            .forEach(used -> hidden.add(type.getName() + " shows " + used.getName())));
        }
        assertThat(hidden).isEqualTo(new TreeSet<>(KNOWN_LEAKS));
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
