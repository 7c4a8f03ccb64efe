package org.peft4j.io.yaml;

import java.lang.reflect.RecordComponent;
import java.nio.file.Path;
import java.util.Map;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.host.UserPath;
import org.peft4j.io.NearestName;

/** Single YAML values as Java values, and the messages for those that do not fit. */
final class YamlValues {
    private static final Pattern WHOLE = Pattern.compile("[-+]?\\d+(_\\d+)*");
    private static final Pattern NUMBER = Pattern.compile("[-+]?(\\d+(_\\d+)*(\\.\\d*)?|\\.\\d+)([eE][-+]?\\d+)?");

    private YamlValues() {}

    /** Texts may be written without quotes, so that {@code labels: [0, 1]} are the texts "0" and "1". */
    static Object scalar(Class<?> type, YamlNode node, String path) {
        String text = node instanceof YamlNode.Scalar scalar ? scalar.text() : null;
        if (text == null) {
            throw wrong(expected(type), node, path);
        }
        if (type == String.class) {
            return text;
        }
        if (type == Path.class) {
            try {
                return UserPath.of(text);
            } catch (IllegalArgumentException e) {
                throw new ConfigException(path + " (" + node.where() + "): " + e.getMessage(), e);
            }
        }
        if (type.isEnum()) {
            Map<String, Object> names = YamlSchema.enumNames(type);
            Object constant = names.get(text.replace('_', '-'));
            if (constant == null) {
                throw new ConfigException(wrong(expected(type), node, path).getMessage()
                        + NearestName.of(text, names.keySet())
                                .map(name -> "; did you mean '" + name + "'?")
                                .orElse(""));
            }
            return constant;
        }
        if (type == boolean.class || type == Boolean.class) {
            if (!text.equals("true") && !text.equals("false")) {
                throw wrong(expected(type), node, path);
            }
            return text.equals("true");
        }
        return number(type, text, node, path);
    }

    /** A value of a map that takes any: true, false, a number, else a text. */
    static Object plain(YamlNode node, String path) {
        String text = node instanceof YamlNode.Scalar scalar ? scalar.text() : null;
        if (text == null) {
            throw wrong("a text, a number, true or false", node, path);
        }
        if (text.equals("true") || text.equals("false")) {
            return Boolean.valueOf(text);
        }
        return NUMBER.matcher(text).matches()
                ? number(WHOLE.matcher(text).matches() ? Long.class : Double.class, text, node, path)
                : text;
    }

    /** The constant that a value names. */
    static <E> E named(Map<String, E> constants, YamlNode node) {
        E constant =
                node instanceof YamlNode.Scalar scalar && scalar.text() != null ? constants.get(scalar.text()) : null;
        if (constant == null) {
            throw new IllegalArgumentException(
                    "expected one of " + String.join(", ", constants.keySet()) + ", received " + node.received());
        }
        return constant;
    }

    private static Object number(Class<?> type, String text, YamlNode node, String path) {
        try {
            String digits = text.replace("_", "");
            if (type == double.class || type == Double.class) {
                double value = NUMBER.matcher(text).matches() ? Double.parseDouble(digits) : Double.NaN;
                if (Double.isFinite(value)) {
                    return value;
                }
            } else if (!WHOLE.matcher(text).matches()) {
                throw wrong(expected(type), node, path);
            } else if (type == int.class || type == Integer.class) {
                return Integer.parseInt(digits);
            } else if (type == long.class || type == Long.class) {
                return Long.parseLong(digits);
            } else {
                throw new IllegalStateException("no YAML form for " + type + " at " + path);
            }
        } catch (NumberFormatException e) {
            // Only too large: the form was checked.
        }
        throw wrong(expected(type), node, path);
    }

    private static String expected(Class<?> type) {
        if (type.isEnum()) {
            return "one of " + String.join(", ", YamlSchema.enumNames(type).keySet());
        }
        return switch (type.getSimpleName()) {
            case "int", "Integer" -> "a whole number below 2^31";
            case "long", "Long" -> "a whole number";
            case "double", "Double" -> "a number";
            case "boolean", "Boolean" -> "true or false";
            case "Path" -> "a path";
            default -> "a text";
        };
    }

    /** "expected a number for 'learning_rate' in training (spam.yaml, line 9), received 'fast'". */
    static ConfigException wrong(String expected, YamlNode node, String path) {
        int dot = path.lastIndexOf('.');
        String key = path.substring(dot + 1);
        return new ConfigException("expected " + expected + (key.isEmpty() ? "" : " for '" + key + "'")
                + in(dot < 0 ? "" : path.substring(0, dot)) + " (" + node.where() + "), received " + node.received());
    }

    /** Runs {@code read}; what it refuses gets the place of the node. */
    static <T> T at(YamlNode node, String path, Supplier<T> read) {
        try {
            return read.get();
        } catch (ConfigException e) {
            throw e;
        } catch (IllegalArgumentException e) {
            throw new ConfigException(e.getMessage() + in(path) + " (" + node.where() + ")", e);
        }
    }

    static String in(String path) {
        return path.isEmpty() ? "" : " in " + path;
    }

    static boolean isNullable(RecordComponent component) {
        return component.getAnnotatedType().isAnnotationPresent(Nullable.class);
    }
}
