package org.peft4j.method.spi.lora;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.peft4j.io.NearestName;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.method.lora.LoraLayers;
import org.peft4j.method.spi.PatternRule;
import org.peft4j.nn.seam.ExpertsPoint;
import org.peft4j.nn.seam.LinearPoint;
import org.peft4j.nn.seam.Point;
import org.peft4j.nn.seam.Points;

/**
 * What {@code target_parameters} name: tensors, by their paths or ends of them. Those of experts are no linear layer's; the weight
 * of a linear layer is adapted as the layer is.
 */
final class ParameterTargets {
    private static final String SETTING = "target_parameters";
    private static final String WEIGHT = ".weight";

    private ParameterTargets() {}

    /** The path of the tensor that is adapted at a point. */
    static String path(Point<?> point) {
        return point instanceof LinearPoint linear ? linear.path() + WEIGHT : point.path();
    }

    /** The path that patterns of ranks and alphas are about: the tensor's where it is adapted as one, else the module's. */
    static String judgedBy(LoraConfig config, Point<?> point) {
        return name(config, point) ? path(point) : point.path();
    }

    private static Stream<Point<?>> candidates(Points points) {
        return Stream.concat(points.linears().stream(), points.all(ExpertsPoint.class).stream());
    }

    /** Whether a name means the tensor of a point. */
    static boolean matches(String name, Point<?> point) {
        String path = path(point);
        return path.equals(name) || path.endsWith("." + name);
    }

    /** Whether the settings name the tensor of a point. */
    static boolean name(LoraConfig config, Point<?> point) {
        return config.targetParameters().stream().anyMatch(name -> matches(name, point));
    }

    /** The tensors of experts that the settings name. */
    static List<ExpertsPoint> experts(LoraConfig config, Points points) {
        return points.all(ExpertsPoint.class).stream()
                .filter(point -> name(config, point))
                .toList();
    }

    /**
     * Where they are.
     *
     * @throws IllegalArgumentException if a name matches nothing, or a setting does not go with them
     */
    static List<LoraSite> sites(LoraConfig config, LoraLayers layers, Points points) {
        List<LoraSite> sites = new ArrayList<>();
        if (config.targetParameters().isEmpty()) {
            return sites;
        }
        List<Point<?>> candidates = candidates(points).toList();
        for (String name : config.targetParameters()) {
            if (candidates.stream().noneMatch(point -> matches(name, point))) {
                TreeSet<String> known = new TreeSet<>();
                points.all(ExpertsPoint.class).forEach(point -> known.add(end(point.path())));
                throw new IllegalArgumentException(
                        SETTING + ": no tensor of experts and no weight of a linear layer of "
                                + points.architecture() + " is named " + name
                                + (known.isEmpty()
                                        ? "; the model has no mixture of experts"
                                        : NearestName.hint(name, known) + "; those of experts are " + known));
            }
        }
        for (Point<?> point : candidates) {
            if (name(config, point)) {
                String path = path(point);
                sites.add(new LoraSite(point, layers.rank(path), layers.scale(path)));
            }
        }
        return sites;
    }

    /** {@code mlp.experts.down_proj} */
    private static String end(String path) {
        String[] parts = path.split("\\.");
        return String.join(".", List.of(parts).subList(Math.max(0, parts.length - 3), parts.length));
    }

    /**
     * The tensors that the settings name, as files spell their paths.
     *
     * @param spelled a file's path of each
     */
    static List<String> paths(LoraConfig config, Points points, UnaryOperator<String> spelled) {
        return candidates(points)
                .map(ParameterTargets::path)
                .map(spelled)
                .filter(path -> named(config, path))
                .toList();
    }

    private static boolean named(LoraConfig config, String path) {
        return config.targetParameters().stream().anyMatch(name -> path.equals(name) || path.endsWith("." + name));
    }

    /** What the settings mean for each tensor, if their words are about these paths. */
    static List<Object> mean(LoraConfig config, Points points, UnaryOperator<String> spelled) {
        if (config.targetParameters().isEmpty()) {
            return List.of();
        }
        LoraLayers layers = new LoraLayers(config);
        return candidates(points)
                .map(ParameterTargets::path)
                .map(spelled)
                .map(path -> (Object) List.of(named(config, path), layers.rank(path), layers.alpha(path)))
                .toList();
    }

    /**
     * The settings with each tensor by its path, whose rank and alpha are said of it.
     *
     * @param modules the settings, whose modules are spelled already
     * @param config before
     */
    static LoraConfig respelled(
            LoraConfig modules,
            LoraConfig config,
            Points points,
            UnaryOperator<String> from,
            UnaryOperator<String> to) {
        if (config.targetParameters().isEmpty()) {
            return modules;
        }
        LoraLayers layers = new LoraLayers(config);
        List<String> names = new ArrayList<>();
        Map<String, Integer> ranks = new LinkedHashMap<>(modules.rankPattern());
        Map<String, Double> alphas = new LinkedHashMap<>(modules.alphaPattern());
        candidates(points).map(ParameterTargets::path).forEach(path -> {
            String old = from.apply(path);
            if (!named(config, old)) {
                return;
            }
            names.add(to.apply(path));
            String pattern = PatternRule.RANKS.whole(to.apply(path));
            if (layers.rank(old) != config.r()) {
                ranks.put(pattern, layers.rank(old));
            }
            if (layers.alpha(old) != config.alpha()) {
                alphas.put(pattern, layers.alpha(old));
            }
        });
        return modules.toBuilder()
                .targetParameters(names.isEmpty() ? config.targetParameters() : names)
                .rankPattern(ranks)
                .alphaPattern(alphas)
                .build();
    }
}
