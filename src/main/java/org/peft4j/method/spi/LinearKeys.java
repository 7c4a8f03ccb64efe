package org.peft4j.method.spi;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ConfigKeys;
import org.peft4j.method.Projection;
import org.peft4j.method.Ranks;
import org.peft4j.method.TargetLayers;
import org.peft4j.method.Targets;

/** What the configs of methods of linear layers have in common in Hugging Face PEFT's files. */
public final class LinearKeys {
    /** The table of all such methods; each adds its own rows, of {@link #EXCLUDED} and {@link #NUMBERS} those that PEFT has for it. */
    public static final ConfigKeys COMMON = ConfigKeys.of(PeftKeys.LIBRARY)
            .all(PeftKeys.COMMON)
            .obeyed("target_modules")
            .build();

    /** Modules that are left out. */
    public static final String EXCLUDED = "exclude_modules";

    /** The layers by number. */
    public static final String[] NUMBERS = {"layers_to_transform", "layers_pattern"};

    /** Rows that LoHa and LoKr have in common. */
    public static final ConfigKeys LYCORIS = ConfigKeys.of(PeftKeys.LIBRARY)
            .obeyed(EXCLUDED)
            .obeyed(NUMBERS)
            .obeyed("r", "alpha", "rank_pattern", "alpha_pattern")
            .obeyed("init_weights") // which tensor begins with zeros, where the method has a choice; the file's replace
            // them
            .told("rank_dropout", ConfigKeys::isUnset, "rows of the update are dropped in PEFT's training alone")
            .told("module_dropout", ConfigKeys::isUnset, "layers' updates are dropped in PEFT's training alone")
            .harmless("only of convolutions, and no layer here is one", "use_effective_conv2d")
            .build();

    private LinearKeys() {}

    /** The layers that a file's config names. */
    public static TargetLayers layers(PeftConfigReader config) throws MalformedFileException {
        @Nullable Targets targets = config.targets("target_modules");
        boolean named = config.get("layers_to_transform") == null
                || !config.counts("layers_to_transform")
                        .isEmpty(); // PEFT looks at the names only where layers are given
        return new TargetLayers(
                targets == null ? Targets.modelDefault() : targets,
                config.targets("exclude_modules"),
                config.counts("layers_to_transform"),
                named
                        ? config.texts("layers_pattern").stream()
                                .filter(name -> !name.isEmpty())
                                .toList()
                        : List.of());
    }

    /** What a file's config says of the layers. */
    public static void put(TargetLayers layers, Map<String, @Nullable Object> file) {
        file.put("target_modules", layers.targets().toTree());
        Targets excluded = layers.excludeModules();
        file.put(EXCLUDED, excluded == null ? null : excluded.toTree());
        file.put("layers_to_transform", layers.layersToTransform().isEmpty() ? null : layers.layersToTransform());
        List<String> names = layers.layersPattern();
        file.put("layers_pattern", names.isEmpty() ? null : names.size() == 1 ? names.get(0) : names);
    }

    /** Ranks and alphas of LoHa and LoKr, as {@link #put} writes them. */
    public static Ranks ranks(PeftConfigReader config) throws MalformedFileException {
        return new Ranks(
                config.count("r", 8),
                config.number("alpha", 8),
                config.countsByName("rank_pattern"),
                config.numbers("alpha_pattern"));
    }

    /** What a file's config says of ranks and alphas, and of what goes with them in these methods. */
    public static void put(Ranks ranks, Map<String, Object> file) {
        file.put("alpha", number(ranks.alpha()));
        file.put("alpha_pattern", ranks.alphaPattern());
        file.put("r", ranks.r());
        file.put("rank_pattern", ranks.rankPattern());
        file.put("rank_dropout", 0.0);
        file.put("module_dropout", 0.0);
        file.put("use_effective_conv2d", false);
    }

    /** The same ranks with their patterns changed. */
    public static Ranks changed(Ranks ranks, PatternRule.Change change) {
        return new Ranks(
                ranks.r(),
                ranks.alpha(),
                change.apply("rank_pattern", ranks.rankPattern()),
                change.apply("alpha_pattern", ranks.alphaPattern()));
    }

    /** A number as PEFT's files have it, whose settings of this kind are whole numbers for the most part. */
    public static Object number(double value) {
        return value == Math.rint(value) && Math.abs(value) < 1L << 53 ? (Object) (long) value : value;
    }

    /** How random matrices are drawn, and whether the file has them. */
    public static Projection projection(PeftConfigReader config) throws MalformedFileException {
        return new Projection(config.whole("projection_prng_key", 0), config.flag("save_projection", true));
    }
}
