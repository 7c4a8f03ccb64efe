package org.peft4j.method;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/**
 * A regular expression over module paths, in the syntax that Hugging Face's Python files use. Files may come from
 * strangers: an expression that needs more than {@value #MAX_STEPS} steps for one path is refused, so that none can
 * hang the program.
 */
public final class ModulePattern {
    static final int MAX_STEPS = 1_000_000;

    private final String text;
    private final Pattern pattern;

    private ModulePattern(String text, Pattern pattern) {
        this.text = text;
        this.pattern = pattern;
    }

    /**
     * Compiles an expression.
     *
     * @throws IllegalArgumentException if it is not a regular expression for Python
     */
    public static ModulePattern of(String regex) {
        try {
            return new ModulePattern(regex, Pattern.compile(PythonRegex.toJava(regex), PythonRegex.FLAGS));
        } catch (PatternSyntaxException e) {
            throw new IllegalArgumentException(
                    "'" + regex + "' is not a regular expression: " + e.getDescription() + " at " + e.getIndex(), e);
        }
    }

    /** Whether the whole path matches. */
    public boolean matches(String path) {
        try {
            return matcher(path).matches();
        } catch (StackOverflowError e) {
            throw tooSlow();
        }
    }

    /** Whether the path begins with a match, as Python's {@code re.match} asks. */
    public boolean begins(String path) {
        try {
            return matcher(path).lookingAt();
        } catch (StackOverflowError e) {
            throw tooSlow();
        }
    }

    /** Whether some of the path matches, as Python's {@code re.search} asks. */
    public boolean isIn(String path) {
        try {
            return matcher(path).find();
        } catch (StackOverflowError e) {
            throw tooSlow();
        }
    }

    /** The number that the group {@code idx} has where the beginning of the path matches. */
    public OptionalInt index(String path) {
        try {
            Matcher matcher = matcher(path);
            return matcher.lookingAt() ? OptionalInt.of(Integer.parseInt(matcher.group("idx"))) : OptionalInt.empty();
        } catch (NumberFormatException e) {
            return OptionalInt.empty(); // more digits than any layer has
        } catch (StackOverflowError e) {
            throw tooSlow();
        }
    }

    private Matcher matcher(String path) {
        return pattern.matcher(new Counted(path));
    }

    private IllegalArgumentException tooSlow() {
        return new IllegalArgumentException("the regular expression '" + text + "' needs more than " + MAX_STEPS
                + " steps for one module path; write a simpler one");
    }

    /** The letters of a path; counts how often one is looked at. */
    private final class Counted implements CharSequence {
        private final String letters;
        private int steps;

        Counted(String letters) {
            this.letters = letters;
        }

        @Override
        public char charAt(int index) {
            if (++steps > MAX_STEPS) {
                throw tooSlow();
            }
            return letters.charAt(index);
        }

        @Override
        public int length() {
            return letters.length();
        }

        @Override
        public CharSequence subSequence(int start, int end) {
            return letters.substring(start, end);
        }

        @Override
        public String toString() {
            return letters;
        }
    }

    /** What patterns for the end of a path, in their order, give for a module's path: the value of the first that matches. */
    public static <V> Function<String, Optional<V>> byEnd(Map<String, V> patterns) {
        Map<ModulePattern, V> compiled = new LinkedHashMap<>();
        patterns.forEach((key, value) -> compiled.put(of("(.*\\.)?(" + key + ")$"), value));
        return path -> compiled.entrySet().stream()
                .filter(entry -> entry.getKey().begins(path))
                .map(Map.Entry::getValue)
                .findFirst();
    }
}
