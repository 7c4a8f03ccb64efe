package org.peft4j.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.nn.RotaryFrequencies;

/**
 * What a model's config says of its rotary embedding, in each spelling there is: {@code rope_theta} and {@code rope_scaling},
 * or {@code rope_parameters}; {@code rope_type} or {@code type}. Where two say something, transformers' order holds:
 * {@code rope_scaling} goes before {@code rope_parameters}, what is inside before what is beside it.
 */
public final class RotaryReader {
    private static final String SCALING = "rope_scaling";
    private static final String PARAMETERS = "rope_parameters";
    private static final String THETA = "rope_theta";
    private static final String TYPE = "rope_type";
    private static final String OLD_TYPE = "type";
    private static final String FACTOR = "factor";
    private static final String ORIGINAL = "original_max_position_embeddings";
    private static final String PARTIAL = "partial_rotary_factor";
    private static final String LONGROPE = "longrope";
    private static final String SHORT = "short_factor";
    private static final String LONG = "long_factor";
    private static final double MOST = 1e12;

    /** For each type the keys that it reads. */
    private static final Map<String, Set<String>> KEYS = new TreeMap<>(Map.of(
            "default",
            Set.of(),
            "linear",
            Set.of(FACTOR),
            "dynamic",
            Set.of(FACTOR),
            "llama3",
            Set.of(FACTOR, "low_freq_factor", "high_freq_factor", ORIGINAL),
            LONGROPE,
            Set.of(FACTOR, ORIGINAL, "attention_factor", SHORT, LONG),
            "yarn",
            Set.of(
                    FACTOR,
                    ORIGINAL,
                    "attention_factor",
                    "beta_fast",
                    "beta_slow",
                    "mscale",
                    "mscale_all_dim",
                    "truncate")));

    /**
     * What a family makes of the keys.
     *
     * @param theta the base where nothing is said
     * @param thetaKey beside the settings
     * @param partial the share of a head that is turned where nothing is said; 0: heads are turned as a whole, whatever a file
     *     says must be that
     * @param partialKey beside the settings
     * @param aliases old names of types
     */
    public record Habits(
            double theta, String thetaKey, double partial, String partialKey, Map<String, String> aliases) {
        /** Those of most models. */
        public static Habits theta(double theta) {
            return new Habits(theta, THETA, 0, PARTIAL, Map.of());
        }

        /** The same with another key for the base. */
        public Habits withThetaKey(String key) {
            return new Habits(theta, key, partial, partialKey, aliases);
        }
    }

    private final ConfigReader config;
    private final @Nullable ConfigReader inside;
    private final String place;
    private final int positions;
    private final Habits habits;

    private RotaryReader(
            ConfigReader config, @Nullable ConfigReader inside, String place, int positions, Habits habits) {
        this.config = config;
        this.inside = inside;
        this.place = place;
        this.positions = positions;
        this.habits = habits;
    }

    /** Keys of {@code config.json} that are read here. */
    public static String[] keys() {
        return new String[] {THETA, SCALING, PARAMETERS, ORIGINAL, PARTIAL};
    }

    /**
     * Reads.
     *
     * @param size numbers of a head
     * @param positions {@code max_position_embeddings}
     * @param notes gets what a user should know: settings that nobody reads
     */
    public static RotaryFrequencies read(
            ConfigReader config, int size, int positions, Habits habits, List<String> notes)
            throws MalformedFileException {
        ConfigReader scaling = config.inner(SCALING)
                .filter(settings -> !settings.keys().isEmpty())
                .orElse(null);
        ConfigReader inside = scaling == null ? config.inner(PARAMETERS).orElse(null) : scaling;
        String place = scaling == null ? PARAMETERS : SCALING;
        return new RotaryReader(config, inside, place, positions, habits).read(size, notes);
    }

    /**
     * Reads the settings of one kind of layers, which are all in one object.
     *
     * @param inside the object, or null: none
     * @param place its name in the file
     */
    public static RotaryFrequencies read(
            ConfigReader config,
            @Nullable ConfigReader inside,
            String place,
            int size,
            int positions,
            Habits habits,
            List<String> notes)
            throws MalformedFileException {
        return new RotaryReader(config, inside, place, positions, habits).read(size, notes);
    }

    private RotaryFrequencies read(int size, List<String> notes) throws MalformedFileException {
        String type = type();
        double theta = positive(config, habits.thetaKey(), habits.theta());
        double partial = config.number(habits.partialKey(), habits.partial(), 0, MOST);
        if (inside != null) {
            theta = positive(inside, THETA, theta);
            partial = inside.number(PARTIAL, partial, 0, MOST);
            note(inside, type, notes);
        }
        int turned = turned(size, partial);
        if (type.equals("dynamic") && turned < 4) {
            throw config.wrong("head_dim", "must be at least 4 for " + TYPE + " dynamic", turned);
        }
        return new RotaryFrequencies(theta, turned, extension(type, turned));
    }

    /** Numbers of a head that are turned. */
    private int turned(int size, double partial) throws MalformedFileException {
        if (habits.partial() == 0) {
            if (partial != 0 && partial != 1) {
                throw config.wrong(PARTIAL, "must be 1: heads are turned as a whole", partial);
            }
            return size;
        }
        int turned = (int) (size * partial);
        if (turned < 2 || turned > size || turned % 2 != 0) {
            throw config.wrong(
                    habits.partialKey(),
                    "must be a share of the " + size + " numbers of a head that makes pairs, at most all",
                    partial);
        }
        return turned;
    }

    private String type() throws MalformedFileException {
        if (inside == null) {
            return "default";
        }
        String key = inside.get(TYPE) == null && inside.get(OLD_TYPE) != null ? OLD_TYPE : TYPE;
        Object type = inside.get(key);
        if (type == null) {
            return "default";
        }
        if (!(type instanceof String given)) {
            throw inside.wrong(key, "must be one of " + KEYS.keySet(), type);
        }
        String name = habits.aliases().getOrDefault(given, given);
        if (!KEYS.containsKey(name)) {
            throw inside.wrong(key, "must be one of " + KEYS.keySet(), type);
        }
        return name;
    }

    private RotaryFrequencies.Extension extension(String type, int size) throws MalformedFileException {
        return switch (type) {
            case "linear" -> new RotaryFrequencies.Linear(positive(inside(), FACTOR, 0));
            case "dynamic" -> new RotaryFrequencies.Dynamic(positive(inside(), FACTOR, 0), positions);
            case "llama3" -> llama3();
            case "yarn" -> yarn();
            case LONGROPE -> longRope(size);
            default -> new RotaryFrequencies.Plain();
        };
    }

    private RotaryFrequencies.Extension llama3() throws MalformedFileException {
        double low = positive(inside(), "low_freq_factor", 0);
        double high = positive(inside(), "high_freq_factor", 0);
        if (!(high > low)) {
            throw inside().wrong("high_freq_factor", "must be above low_freq_factor " + low, high);
        }
        return new RotaryFrequencies.Llama3(positive(inside(), FACTOR, 0), low, high, original());
    }

    private RotaryFrequencies.Extension yarn() throws MalformedFileException {
        double original = original();
        double factor = positive(inside(), FACTOR, positions / original);
        double scaling = inside().get("attention_factor") == null
                ? RotaryFrequencies.Yarn.scaling(
                        factor, inside().number("mscale", 0, 0, MOST), inside().number("mscale_all_dim", 0, 0, MOST))
                : inside().number("attention_factor", 0, 0, MOST);
        return new RotaryFrequencies.Yarn(
                factor,
                original,
                orElse(inside().number("beta_fast", 0, 0, MOST), 32),
                orElse(inside().number("beta_slow", 0, 0, MOST), 1),
                inside().flag("truncate", true),
                scaling);
    }

    private RotaryFrequencies.Extension longRope(int size) throws MalformedFileException {
        double original = original();
        double factor = positive(inside(), FACTOR, positions / original);
        double scaling = inside().get("attention_factor") == null
                ? RotaryFrequencies.LongRope.scaling(factor, original)
                : inside().number("attention_factor", 0, 0, MOST);
        return new RotaryFrequencies.LongRope(factors(SHORT, size / 2), factors(LONG, size / 2), original, scaling);
    }

    private List<Double> factors(String key, int pairs) throws MalformedFileException {
        Object value = inside().get(key);
        List<Double> factors = new ArrayList<>();
        if (value instanceof List<?> list) {
            for (Object one : list) {
                if (one instanceof Number number && number.doubleValue() > 0 && number.doubleValue() < MOST) {
                    factors.add(number.doubleValue());
                }
            }
            if (factors.size() == pairs && list.size() == pairs) {
                return factors;
            }
        }
        throw inside().wrong(key, "must be a list of " + pairs + " numbers above 0, one for each pair", value);
    }

    private ConfigReader inside() {
        if (inside == null) {
            throw new AssertionError("only types that are named have settings");
        }
        return inside;
    }

    /** What is beside the settings goes first here, as in transformers: Phi's files have it there. */
    private double original() throws MalformedFileException {
        return config.get(ORIGINAL) != null ? positive(config, ORIGINAL, 0) : positive(inside(), ORIGINAL, positions);
    }

    /** @param fallback 0: the key has to be there */
    private static double positive(ConfigReader reader, String key, double fallback) throws MalformedFileException {
        double value = reader.number(key, fallback, 0, MOST);
        if (value == 0) {
            throw reader.wrong(key, "must be a number above 0", reader.get(key));
        }
        return value;
    }

    private static double orElse(double value, double fallback) {
        return value == 0 ? fallback : value;
    }

    private void note(ConfigReader settings, String type, List<String> notes) {
        Set<String> unread = new TreeSet<>(settings.keys());
        unread.removeAll(KEYS.getOrDefault(type, Set.of()));
        unread.removeAll(Set.of(TYPE, OLD_TYPE, THETA, PARTIAL));
        List<String> named = new ArrayList<>();
        for (String key : unread) {
            if (settings.get(key) != null) {
                named.add("'" + key + "'");
            }
        }
        if (!named.isEmpty()) {
            notes.add("config.json: " + place + " has " + String.join(", ", named) + ", which " + TYPE + " " + type
                    + " does not read; passed over, as transformers does");
        }
    }
}
