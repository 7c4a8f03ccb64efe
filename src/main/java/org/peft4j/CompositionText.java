package org.peft4j;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.peft4j.error.ConfigException;

/** A {@link Composition} as text. */
final class CompositionText {
    private static final Pattern NAME = Pattern.compile("[\\p{L}\\p{N}_][\\p{L}\\p{N}_.-]*");
    private static final Pattern NUMBER = Pattern.compile("[^,;()\\s]+");
    private static final Set<String> BLOCKS = Set.of("Stack", "Fuse", "Split", "BatchSplit", "Average", "Parallel");
    private static final Set<String> SIZED = Set.of("Split", "BatchSplit");

    private final String text;
    private int at;

    private CompositionText(String text) {
        this.text = text;
    }

    static String name(String name) {
        return NAME.matcher(name).matches()
                ? name
                : '"' + name.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
    }

    static String block(String block, List<Composition> children, List<? extends Number> numbers) {
        return block + "("
                + children.stream().map(Composition::toString).collect(Collectors.joining(", "))
                + (numbers.isEmpty()
                        ? ""
                        : numbers.stream().map(String::valueOf).collect(Collectors.joining(", ", "; ", "")))
                + ")";
    }

    static Composition parse(String text) {
        CompositionText reader = new CompositionText(text);
        Composition read = reader.node(0);
        reader.skip();
        if (reader.at < text.length()) {
            throw reader.wrong("nothing more behind the composition");
        }
        return read;
    }

    private Composition node(int depth) {
        skip();
        if (at < text.length() && text.charAt(at) == '"') {
            return made(at, () -> Composition.of(quoted()));
        }
        int begin = at;
        String word = match(NAME);
        if (word.isEmpty()) {
            throw wrong("the name of an adapter or of a block " + sorted());
        }
        skip();
        if (at >= text.length() || text.charAt(at) != '(') {
            return Composition.of(word);
        }
        if (!BLOCKS.contains(word)) {
            at = begin;
            throw wrong("one of the blocks " + sorted() + " before '('");
        }
        if (depth >= CompositionRules.DEPTH) {
            throw wrong("at most " + CompositionRules.DEPTH + " blocks within each other");
        }
        at++;
        List<Composition> children = new ArrayList<>();
        skip();
        if (at < text.length() && text.charAt(at) != ')') {
            do {
                children.add(node(depth + 1));
            } while (found(','));
        }
        List<String> numbers = found(';') ? numbers() : List.of();
        if (!found(')')) {
            throw wrong(numbers.isEmpty() ? "',', ';' or ')'" : "',' or ')'");
        }
        return made(begin, () -> build(word, children, numbers));
    }

    private interface Maker {
        Composition make();
    }

    /** Says the place of what the blocks themselves refuse. */
    private Composition made(int begin, Maker maker) {
        try {
            return maker.make();
        } catch (IllegalArgumentException e) {
            throw new ConfigException(
                    "composition '" + text + "', character " + (begin + 1) + ": " + e.getMessage(), e);
        }
    }

    private static Composition build(String block, List<Composition> children, List<String> numbers) {
        if (SIZED.contains(block)) {
            List<Integer> sizes = numbers.stream().map(CompositionText::size).toList();
            List<Integer> all = sizes.size() == 1 ? Collections.nCopies(children.size(), sizes.get(0)) : sizes;
            return block.equals("Split")
                    ? new Composition.Split(children, all)
                    : new Composition.BatchSplit(children, all);
        }
        if (block.equals("Average")) {
            return numbers.isEmpty()
                    ? Composition.average(children.toArray(Composition[]::new))
                    : new Composition.Average(
                            children,
                            numbers.stream().map(CompositionText::weight).toList());
        }
        if (!numbers.isEmpty()) {
            throw new IllegalArgumentException(block + " takes no numbers, got " + numbers);
        }
        return switch (block) {
            case "Stack" -> new Composition.Stack(children);
            case "Fuse" -> new Composition.Fuse(children);
            default -> new Composition.Parallel(children);
        };
    }

    private static int size(String number) {
        try {
            return Integer.parseInt(number);
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException("a size must be a whole number, got " + number, e);
        }
    }

    private static double weight(String number) {
        try {
            return Double.parseDouble(number);
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException("a weight must be a number, got " + number, e);
        }
    }

    private List<String> numbers() {
        List<String> numbers = new ArrayList<>();
        do {
            skip();
            String number = match(NUMBER);
            if (number.isEmpty()) {
                throw wrong("a number");
            }
            numbers.add(number);
        } while (found(','));
        return numbers;
    }

    private String quoted() {
        StringBuilder name = new StringBuilder();
        for (at++; at < text.length() && text.charAt(at) != '"'; at++) {
            if (text.charAt(at) == '\\' && at + 1 < text.length()) {
                at++;
            }
            name.append(text.charAt(at));
        }
        if (at >= text.length()) {
            throw wrong("'\"' behind the name");
        }
        at++;
        return name.toString();
    }

    private boolean found(char wanted) {
        skip();
        if (at < text.length() && text.charAt(at) == wanted) {
            at++;
            return true;
        }
        return false;
    }

    private String match(Pattern pattern) {
        Matcher matcher = pattern.matcher(text).region(at, text.length());
        if (!matcher.lookingAt()) {
            return "";
        }
        at = matcher.end();
        return matcher.group();
    }

    private void skip() {
        while (at < text.length() && Character.isWhitespace(text.charAt(at))) {
            at++;
        }
    }

    private static List<String> sorted() {
        return BLOCKS.stream().sorted().toList();
    }

    private ConfigException wrong(String expected) {
        return new ConfigException("composition '" + text + "', character " + (at + 1) + ": expected " + expected
                + ", got " + (at < text.length() ? "'" + text.substring(at) + "'" : "the end"));
    }
}
