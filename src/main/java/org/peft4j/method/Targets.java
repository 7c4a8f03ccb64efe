package org.peft4j.method;

import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.NearestName;

/**
 * Which modules of a model are meant, with the meaning that Hugging Face PEFT gives to {@code target_modules}. A module
 * path is Hugging Face's: {@code bert.encoder.layer.0.attention.self.query}.
 */
public sealed interface Targets {
    /** Every linear layer but the head. */
    String ALL_LINEAR = "all-linear";

    /** What is usual for the model. */
    String MODEL_DEFAULT = "model-default";

    /**
     * Whether a module is meant.
     *
     * @param modulePath path of a module of the kind that the method can adapt; {@link AllLinear} takes each of them,
     *     so the caller leaves out the head (the output embedding, or the classifier)
     */
    boolean matches(String modulePath);

    /** The form in files: a list of names, or one string. */
    Object toTree();

    /** A path is meant if it is one of the names or ends with a dot and one of them. Sorted, without doubles. */
    record Names(List<String> names) implements Targets {
        public Names {
            names = names.stream().distinct().sorted().toList();
            if (names.isEmpty()) {
                throw new IllegalArgumentException("targets must name at least one module, such as [query, value]");
            }
            if (names.contains("")) {
                throw new IllegalArgumentException("targets must not contain an empty name, got " + names);
            }
            for (String name : names) {
                if (isWord(name)) {
                    throw new IllegalArgumentException(
                            "targets must be " + name + " alone, or names without it, got " + names);
                }
            }
        }

        @Override
        public boolean matches(String modulePath) {
            return isNamed(modulePath) || names.stream().anyMatch(name -> modulePath.endsWith("." + name));
        }

        /** Whether the whole path is in the list. PEFT does not ask for the layer's number then. */
        public boolean isNamed(String modulePath) {
            return names.contains(modulePath);
        }

        @Override
        public Object toTree() {
            return names;
        }
    }

    /** A path is meant if the whole of it matches a regular expression. */
    record Regex(String regex) implements Targets {
        public Regex {
            ModulePattern.of(regex);
        }

        @Override
        public boolean matches(String modulePath) {
            return ModulePattern.of(regex).matches(modulePath);
        }

        @Override
        public Object toTree() {
            return regex;
        }
    }

    /** Every linear layer but the head. */
    record AllLinear() implements Targets {
        @Override
        public boolean matches(String modulePath) {
            return true;
        }

        @Override
        public Object toTree() {
            return ALL_LINEAR;
        }
    }

    /** No module: for methods that adapt something else, too. */
    record None() implements Targets {
        @Override
        public boolean matches(String modulePath) {
            return false;
        }

        @Override
        public Object toTree() {
            return List.of();
        }
    }

    /** What is usual for the model; the method replaces it by names once the model is known. */
    record ModelDefault() implements Targets {
        @Override
        public boolean matches(String modulePath) {
            throw new IllegalStateException("the model's usual targets are not known yet: resolve them first");
        }

        @Override
        public Object toTree() {
            return MODEL_DEFAULT;
        }
    }

    /** As {@link #names(Collection)}. */
    static Targets names(String... names) {
        return names(List.of(names));
    }

    /** Modules by names or ends of their paths; a list of {@code all-linear} alone means what the word alone does. */
    static Targets names(Collection<String> names) {
        Set<String> different = Set.copyOf(names);
        String first = different.size() == 1 ? different.iterator().next() : "";
        return isWord(first) ? of(first) : new Names(List.copyOf(names));
    }

    /** No module. */
    static Targets none() {
        return new None();
    }

    static Targets regex(String regex) {
        return new Regex(regex);
    }

    static Targets allLinear() {
        return new AllLinear();
    }

    static Targets modelDefault() {
        return new ModelDefault();
    }

    /** From the one string of a file: {@code all-linear}, else a regular expression; null is the model's default. */
    static Targets of(@Nullable String text) {
        if (text == null || text.equals(MODEL_DEFAULT)) {
            return modelDefault();
        }
        return isWord(text) ? allLinear() : regex(text);
    }

    /** Whether a text is no name of a module, but one of the words with a meaning of their own. */
    private static boolean isWord(String text) {
        return text.equals(MODEL_DEFAULT) || text.toLowerCase(Locale.ROOT).equals(ALL_LINEAR); // as PEFT compares
    }

    /**
     * The message for targets that match no module at all, with the nearest name that exists.
     *
     * @param modulePaths the modules that could have been meant
     */
    default String noMatch(Collection<String> modulePaths) {
        Set<String> lastNames = new TreeSet<>();
        modulePaths.forEach(path -> lastNames.add(path.substring(path.lastIndexOf('.') + 1)));
        if (this instanceof Regex regex) {
            String advice = lastNames.contains(regex.regex())
                    ? "; a string is a regular expression for the whole path: write the list [" + regex.regex() + "]"
                    : "; it has to match the whole path, such as '"
                            + modulePaths.stream().findFirst().orElse("") + "'";
            return "targets: the regular expression '" + regex.regex() + "' matches no module" + advice;
        }
        if (this instanceof Names names) {
            String name = names.names().get(0);
            String wanted = name.substring(name.lastIndexOf('.') + 1);
            return "targets: no module is named " + String.join(" or ", names.names())
                    + NearestName.hint(wanted, lastNames);
        }
        return this instanceof None
                ? "targets must name at least one module, such as [query, value]"
                : "targets: the model has no linear layer to adapt";
    }

    /** The names that match nothing; each name in a list has to match something. */
    default List<String> unmatched(Collection<String> modulePaths) {
        if (!(this instanceof Names names)) {
            return List.of();
        }
        return names.names().stream()
                .filter(name ->
                        modulePaths.stream().noneMatch(path -> names(name).matches(path)))
                .toList();
    }
}
