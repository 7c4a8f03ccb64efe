package org.peft4j.io;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.core.JsonLocation;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.yaml.snakeyaml.error.MarkedYAMLException;

/**
 * What a parser of JSON or YAML stumbled over, in our words: what was expected, what came, what to do. The only place
 * that knows how the libraries put it; of their messages nothing goes through but the letters, keys and numbers that
 * they quote from the file. What is not in the table is told in general words.
 */
public final class SyntaxErrors {
    private static final String VALUE =
            "expected a value (a text in double quotes, a number, true, false, null, [ or {)";
    private static final String CHARACTER = "Unexpected character \\(.*?\\(code (\\d+).*\\)";

    private static final Map<String, String> CLOSE = Map.of("Object", "}", "Array", "]");

    /** A message of the library, and what we say instead. Their order counts. */
    private record Rule(Pattern message, Function<MatchResult, String> words) {
        Rule(String message, Function<MatchResult, String> words) {
            this(Pattern.compile(message, Pattern.DOTALL), words);
        }

        Optional<String> apply(String text) {
            Matcher matcher = message.matcher(text);
            return matcher.lookingAt() ? Optional.of(words.apply(matcher)) : Optional.empty();
        }
    }

    private static final List<Rule> JSON = List.of(
            new Rule(
                    "Unexpected end-of-input: expected close marker for (\\w+).*line: (\\d+), column: (\\d+)",
                    m -> "it ends before the '" + CLOSE.getOrDefault(m.group(1), "}") + "' that closes the "
                            + m.group(1).toLowerCase(Locale.ROOT) + " which opens at line " + m.group(2) + ", column "
                            + m.group(3)),
            new Rule(
                    "Unexpected end-of-input.*(quote|VALUE_STRING|field name|escape)",
                    m -> "it ends inside a text: a closing double quote is missing"),
            new Rule("Unexpected end-of-input", m -> "it ends too early: the rest is missing"),
            new Rule("Duplicate [\\w ]+ ['\"](.*)['\"]", m -> "duplicate key '" + m.group(1) + "'; keep one of them"),
            new Rule(
                    CHARACTER + ": was expecting double-quote",
                    m -> "expected a key in double quotes, received " + character(m.group(1))
                            + (m.group(1).equals("125") ? "; the comma before it is too many" : "")),
            new Rule(
                    CHARACTER + ": was expecting a colon",
                    m -> "expected a colon between key and value, received " + character(m.group(1))),
            new Rule(
                    CHARACTER + ": was expecting comma to separate (\\w+)",
                    m -> "expected a comma or '" + CLOSE.getOrDefault(m.group(2), "}") + "', received "
                            + character(m.group(1)) + "; a double quote inside a text has to be written \\\""),
            new Rule(CHARACTER + ": maybe a .*comment", m -> "comments are not allowed in JSON"),
            new Rule(CHARACTER + ": expected a hex-digit", m -> "\\u has to be followed by four hexadecimal digits"),
            new Rule(CHARACTER + " in numeric value", m -> "a number cannot go on with " + character(m.group(1))),
            new Rule(CHARACTER, m -> VALUE + ", received " + character(m.group(1))),
            new Rule("Invalid numeric value: Leading zero", m -> "a number must not begin with 0 and more digits"),
            new Rule(
                    "Unrecognized token '(True|False|None)'",
                    m -> "received Python's " + m.group(1)
                            + ", which is no JSON; write it with json.dumps (true, false and null)"),
            new Rule(
                    "Unrecognized token '(.*)': was expecting",
                    m -> VALUE + ", received '" + shortened(m.group(1)) + "'"),
            new Rule("Non-standard token '(.*?)'", m -> "JSON has no number " + m.group(1)),
            new Rule(
                    "Illegal unquoted character.*code (\\d+)",
                    m -> m.group(1).equals("10") || m.group(1).equals("13")
                            ? "a line break inside a text has to be written \\n"
                            : "the control character " + character(m.group(1)) + " inside a text has to be escaped"),
            new Rule("Illegal character.*code (\\d+)", m -> VALUE + ", received " + character(m.group(1))),
            new Rule(
                    "Unrecognized character escape.*code (\\d+)",
                    m -> "a backslash cannot be followed by " + character(m.group(1))
                            + "; a backslash itself is written \\\\"),
            new Rule(
                    "Unexpected close marker '(.)': expected '(.)'",
                    m -> "expected '" + m.group(2) + "', received '" + m.group(1) + "'"),
            new Rule("Unexpected close marker '(.)'", m -> "a '" + m.group(1) + "' that closes nothing"),
            new Rule("Trailing token", m -> "more follows behind its end; expected one value"),
            new Rule("No content", m -> "there is nothing in it"),
            new Rule("Document nesting depth .*?allowed \\((\\d+)", m -> "more than " + m.group(1) + " levels"),
            new Rule(
                    "Number value length .*?allowed \\((\\d+)", m -> "a number of more than " + m.group(1) + " digits"),
            new Rule("Name length .*?allowed \\((\\d+)", m -> "a key of more than " + m.group(1) + " letters"),
            new Rule("String value length .*?allowed \\((\\d+)", m -> "a text of more than " + m.group(1) + " letters"),
            new Rule("(Numeric value .*out of range|Value .* can not be)", m -> "a number that is too large"),
            new Rule("Expected a field name", m -> "a key has to be a single value, not a list or a map"));

    /** Problems of YAML's parser; {@link #yaml} puts its context in front. */
    private static final List<Rule> YAML = List.of(
            new Rule(".*character '\\\\t", m -> "a tab; indent with spaces"),
            new Rule(
                    ".*found character '(.)' that cannot start",
                    m -> "a text that begins with " + m.group(1) + " has to be in quotes"),
            new Rule(
                    ".*mapping values are not allowed",
                    m -> "a colon that does not fit here: the keys of one map have to begin in the same column, and a"
                            + " text with a colon and a blank in it has to be in quotes"),
            new Rule(
                    ".*sequence entries are not allowed",
                    m -> "a list cannot begin here; write it as [a, b], and put a text that begins with - in quotes"),
            new Rule(
                    ".*flow (sequence|mapping).*expected ',' or '(.)'.*but got (.*)",
                    m -> "expected a comma or '" + m.group(2) + "', received " + token(m.group(3))),
            new Rule(".*quoted scalar.*found unexpected", m -> "a quote that is never closed"),
            new Rule(
                    ".*found unknown escape character (.)",
                    m -> "in double quotes a backslash cannot be followed by '" + m.group(1)
                            + "'; single quotes take it as it is"),
            new Rule(
                    ".*expected <block end>.*",
                    m -> "this line does not continue what is above; check its indentation and its quotes"),
            new Rule(".*could not find expected ':'", m -> "expected 'key: value'"),
            new Rule(
                    ".*expected '<document start>'",
                    m -> "this line does not continue what is above: the keys of one map have to begin in the same"
                            + " column"),
            new Rule(
                    ".*expected the node content, but found '(.*)'",
                    m -> "expected a value, received " + token(m.group(1))),
            new Rule(
                    ".*scanning an? (alias|anchor|tag|directive)",
                    m -> "a text that begins with &, *, ! or % has to be in quotes"),
            new Rule(
                    ".*block scalar",
                    m -> "behind | or > the line has to end; a text that begins with them has to be in quotes"));

    private SyntaxErrors() {}

    /** What is wrong, without the place. */
    public static String describe(JacksonException e) {
        if (e.getCause() instanceof MarkedYAMLException marked) {
            return first(YAML, marked.getContext() + " " + marked.getProblem())
                    .orElse("the text breaks YAML's rules here");
        }
        return first(JSON, String.valueOf(e.getOriginalMessage())).orElse("the text breaks JSON's rules here");
    }

    /** The line, from 1; -1 if it is not known. */
    public static int line(JacksonException e) {
        if (e.getCause() instanceof MarkedYAMLException marked) {
            boolean open = String.valueOf(marked.getContext()).contains("quoted scalar")
                    && String.valueOf(marked.getProblem()).contains("unexpected"); // ends far behind where it began
            return (open ? marked.getContextMark() : marked.getProblemMark()).getLine() + 1;
        }
        return e.getLocation() == null ? -1 : e.getLocation().getLineNr();
    }

    /** The column, from 1; -1 if it is not known. */
    public static int column(JacksonException e) {
        JsonLocation at = e.getLocation();
        return at == null || at.getColumnNr() < 1 ? -1 : at.getColumnNr();
    }

    private static Optional<String> first(List<Rule> rules, String message) {
        return rules.stream().flatMap(rule -> rule.apply(message).stream()).findFirst();
    }

    /** A character by its code, as people can read it. */
    private static String character(String code) {
        int c = Integer.parseInt(code);
        return c > ' ' && c < 0x7f ? "'" + (char) c + "'" : String.format("the character U+%04X", c);
    }

    private static String token(String token) {
        return token.equals("<stream end>") ? "the end of the text" : "'" + shortened(token) + "'";
    }

    private static String shortened(String text) {
        return text.length() > 40 ? text.substring(0, 40) + "…" : text;
    }
}
