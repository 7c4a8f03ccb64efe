package org.peft4j.method.spi;

import java.util.List;
import java.util.OptionalInt;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.peft4j.method.LayerChoice;
import org.peft4j.method.TargetLayers;
import org.peft4j.method.Targets;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Points;

/**
 * Which modules a method's {@code targets} mean, as Hugging Face PEFT decides it for every method: those that match, without
 * excluded ones and without those that {@code modules_to_save} names or that are inside of them.
 */
public final class TargetModules {
    private final Targets targets;
    private final @Nullable Targets excluded;
    private final LayerChoice choice;

    /** @param targets that are not the model's default any more */
    public TargetModules(Targets targets, @Nullable Targets excluded, List<String> modulesToSave) {
        this(new TargetLayers(targets, excluded, List.of(), List.of()), modulesToSave);
    }

    /** @param layers whose targets are not the model's default any more */
    public TargetModules(TargetLayers layers, List<String> modulesToSave) {
        targets = layers.targets();
        excluded = layers.excludeModules();
        choice = new LayerChoice(layers, modulesToSave);
    }

    /** Whether the module with this path is meant. */
    public boolean matches(String path) {
        return choice.adapts(path);
    }

    /** Whether a linear layer is meant; "all-linear" leaves out the head. */
    public boolean adapts(LinearPoint point) {
        return adapts(point, point.path());
    }

    /** The same, where the targets' words are about another path of the layer. */
    public boolean adapts(LinearPoint point, String path) {
        return isCandidate(point) && matches(path);
    }

    private boolean isCandidate(LinearPoint point) {
        return !(point.head() && targets instanceof Targets.AllLinear);
    }

    /** The linear layers that are meant. */
    public List<LinearPoint> linears(Points points) {
        return of(points.linears().stream().filter(this::isCandidate).toList(), LinearPoint::path);
    }

    /**
     * Those of the modules that are meant.
     *
     * @throws IllegalArgumentException if none is, or a name in the list of targets matches none
     */
    public <P> List<P> of(List<P> points, Function<P, String> path) {
        List<String> paths = points.stream().map(path).toList();
        checkExcluded(excluded, paths);
        List<String> unmatched = targets.unmatched(paths);
        if (!unmatched.isEmpty()) {
            throw new IllegalArgumentException(Targets.names(unmatched).noMatch(paths));
        }
        List<P> found =
                points.stream().filter(point -> matches(path.apply(point))).toList();
        if (found.isEmpty()) {
            throw new IllegalArgumentException(
                    paths.stream().anyMatch(targets::matches)
                            ? "targets '" + targets.toTree()
                                    + "' match modules of the model, but exclude_modules and modules_to_save leave none"
                                    + " of them"
                            : targets.noMatch(paths));
        }
        return found;
    }

    /**
     * Refuses {@code exclude_modules} that exclude nothing: what they misspell would be adapted.
     *
     * @param paths the modules that targets could mean
     */
    public static void checkExcluded(@Nullable Targets excluded, List<String> paths) {
        if (excluded == null) {
            return;
        }
        List<String> unmatched = excluded.unmatched(paths);
        if (!unmatched.isEmpty() || paths.stream().noneMatch(excluded::matches)) {
            Targets wrong = unmatched.isEmpty() ? excluded : Targets.names(unmatched);
            throw new IllegalArgumentException(wrong.noMatch(paths).replaceFirst("^targets", "exclude_modules"));
        }
    }

    /**
     * Refuses numbers of layers in which nothing is adapted.
     *
     * @param layerOf the number of the layer that a module is in
     * @param adapted the modules that are adapted
     */
    public static void checkLayers(List<Integer> numbers, Function<String, OptionalInt> layerOf, List<String> adapted) {
        for (int number : numbers) {
            if (adapted.stream().noneMatch(path -> layerOf.apply(path).equals(OptionalInt.of(number)))) {
                throw new IllegalArgumentException(
                        "layers_to_transform: no module that targets mean is in layer " + number);
            }
        }
    }

    /** Notes the names among an adapter's targets for which its file has nothing. */
    public void noteUnused(List<String> all, List<String> used, List<String> notes) {
        if (!(targets instanceof Targets.Names names)) {
            return;
        }
        for (String name : names.names()) {
            Targets one = Targets.names(name);
            boolean meant = all.stream().filter(one::matches).allMatch(this::matches); // or matches nothing
            if (meant && used.stream().noneMatch(one::matches)) {
                notes.add("target '" + name + "' of the adapter's config has no tensors in its file");
            }
        }
    }
}
