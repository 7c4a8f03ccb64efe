package org.peft4j.data.template;

import java.math.BigInteger;
import java.util.Iterator;
import java.util.List;
import java.util.Set;
import java.util.function.IntPredicate;
import org.jspecify.annotations.Nullable;

/** The methods of texts. */
final class TextMethods {
    /** All that Python has; those that are not below are refused by name. */
    private static final Set<String> NAMES = Set.of(
            "capitalize",
            "casefold",
            "center",
            "count",
            "encode",
            "endswith",
            "expandtabs",
            "find",
            "format",
            "format_map",
            "index",
            "isalnum",
            "isalpha",
            "isascii",
            "isdecimal",
            "isdigit",
            "isidentifier",
            "islower",
            "isnumeric",
            "isprintable",
            "isspace",
            "istitle",
            "isupper",
            "join",
            "ljust",
            "lower",
            "lstrip",
            "maketrans",
            "partition",
            "removeprefix",
            "removesuffix",
            "replace",
            "rfind",
            "rindex",
            "rjust",
            "rpartition",
            "rsplit",
            "rstrip",
            "split",
            "splitlines",
            "startswith",
            "strip",
            "swapcase",
            "title",
            "translate",
            "upper",
            "zfill");

    /** Those that escape their arguments if the text is marked, or give several texts. */
    private static final Set<String> ESCAPING = Set.of(
            "center",
            "format",
            "join",
            "ljust",
            "partition",
            "replace",
            "rjust",
            "rpartition",
            "rsplit",
            "split",
            "splitlines");

    /** From, to: raised and lowered digits, those in circles, and others that Python's isdigit has beside decimal ones. */
    private static final int[] OTHER_DIGITS = {
        0xb2, 0xb3, 0xb9, 0xb9, 0x1369, 0x1371, 0x19da, 0x19da, 0x2070, 0x2070, 0x2074, 0x2079, 0x2080, 0x2089, 0x2460,
        0x2468, 0x2474, 0x247c, 0x2488, 0x2490, 0x24ea, 0x24ea, 0x24f5, 0x24fd, 0x24ff, 0x24ff, 0x2776, 0x277e, 0x2780,
        0x2788, 0x278a, 0x2792, 0x10a40, 0x10a43, 0x10e60, 0x10e68, 0x11052, 0x1105a, 0x1f100, 0x1f10a
    };

    private final String text;
    private final Budget budget;

    private TextMethods(String text, Budget budget) {
        this.text = text;
        this.budget = budget;
    }

    /** A method of a text; {@link Frame#MISSING} for a name that is none. */
    static Object of(String text, String name, Budget budget) {
        if (!NAMES.contains(name)) {
            return Frame.MISSING;
        }
        TextMethods methods = new TextMethods(text, budget);
        return Callable.of("str." + name, arguments -> {
            budget.text(text.length());
            Object result = methods.call(name, arguments);
            if (result instanceof String made) {
                budget.text(made.length());
            } else if (result instanceof List<?> made) {
                budget.steps(made.size());
            }
            return result;
        });
    }

    /** The same for a marked text: what is made of it is marked, too. */
    static Object of(Markup text, String name, Budget budget) {
        Object method = of(text.text(), name, budget);
        if (method instanceof Callable callable) {
            if (ESCAPING.contains(name)) {
                throw TemplateError.unsupported("'" + name + "' of a text behind |safe or |escape");
            }
            return Callable.of(callable.name(), arguments -> {
                Object result = callable.call(arguments);
                return result instanceof String made ? new Markup(made) : result;
            });
        }
        return method;
    }

    private @Nullable Object call(String name, Args arguments) {
        return switch (name) {
            case "strip", "lstrip", "rstrip" ->
                strip(arguments.bind("chars"), !name.startsWith("r"), !name.startsWith("l"));
            case "startswith", "endswith" -> affix(arguments.bind("affix", "start", "end"), name.equals("startswith"));
            case "removeprefix" -> {
                String prefix = arguments.bind("prefix").text("prefix");
                yield text.startsWith(prefix) ? text.substring(prefix.length()) : text;
            }
            case "removesuffix" -> {
                String suffix = arguments.bind("suffix").text("suffix");
                yield text.endsWith(suffix) ? text.substring(0, text.length() - suffix.length()) : text;
            }
            case "split" -> TextSplits.split(text, arguments.bind("sep", "maxsplit"), false, budget);
            case "rsplit" -> TextSplits.split(text, arguments.bind("sep", "maxsplit"), true, budget);
            case "splitlines" -> PyText.lines(text, arguments.bind("keepends").isTrue("keepends"));
            case "partition" -> TextSplits.partition(text, arguments.bind("sep"), false, budget);
            case "rpartition" -> TextSplits.partition(text, arguments.bind("sep"), true, budget);
            case "join" -> join(text, arguments.bind("iterable").get("iterable"), budget);
            case "replace" -> {
                Args.Bound bound = arguments.bind("old", "new", "count");
                yield replace(text, bound.text("old"), bound.text("new"), bound.integer("count", -1), budget);
            }
            case "find", "rfind", "index", "rindex" -> find(name, arguments.bind("sub", "start", "end"));
            case "count" -> count(arguments.bind("sub", "start", "end"));
            case "format" -> TextFormat.format(text, arguments, budget);
            case "center", "ljust", "rjust" -> justify(name, arguments.bind("width", "fillchar"));
            case "zfill" -> zfill(arguments.bind("width").integer("width", 0));
            case "expandtabs",
                    "encode",
                    "format_map",
                    "isidentifier",
                    "isprintable",
                    "istitle",
                    "maketrans",
                    "translate",
                    "isnumeric",
                    "casefold" -> throw TemplateError.unsupported("'" + name + "' of a text");
            default -> {
                arguments.bind();
                yield plain(name);
            }
        };
    }

    /** The methods without arguments. */
    private Object plain(String name) {
        return switch (name) {
            case "upper" -> PyText.upper(text);
            case "lower" -> PyText.lower(text);
            case "title" -> PyText.title(text);
            case "capitalize" -> PyText.capitalize(text);
            case "swapcase" -> PyText.swapCase(text);
            case "isupper" -> PyText.isAllOf(text, true);
            case "islower" -> PyText.isAllOf(text, false);
            case "isspace" -> all(PyText::isSpace);
            case "isalpha" -> all(Character::isLetter);
            case "isdigit" -> all(TextMethods::isDigit);
            case "isdecimal" -> all(Character::isDigit);
            case "isalnum" ->
                all(c -> Character.isLetter(c)
                        || isDigit(c)
                        || Character.getType(c) == Character.LETTER_NUMBER
                        || Character.getType(c) == Character.OTHER_NUMBER);
            case "isascii" -> text.codePoints().allMatch(c -> c < 0x80);
            default -> throw new AssertionError(name);
        };
    }

    private static boolean isDigit(int c) {
        if (Character.isDigit(c)) {
            return true;
        }
        for (int i = 0; i < OTHER_DIGITS.length; i += 2) {
            if (c >= OTHER_DIGITS[i] && c <= OTHER_DIGITS[i + 1]) {
                return true;
            }
        }
        return false;
    }

    private boolean all(IntPredicate is) {
        return !text.isEmpty() && text.codePoints().allMatch(is);
    }

    private String strip(Args.Bound bound, boolean left, boolean right) {
        if (bound.get("chars", null) == null) {
            return PyText.strip(text, PyText::isSpace, left, right);
        }
        String chars = bound.text("chars");
        budget.steps(((long) text.length() * chars.length()) >> 6);
        return PyText.strip(text, c -> chars.indexOf(c) >= 0, left, right);
    }

    private boolean affix(Args.Bound bound, boolean begin) {
        String part = window(bound);
        Object wanted = bound.get("affix");
        if (beginsBehind(bound)) {
            return false;
        }
        if (wanted instanceof Tuple any) {
            return any.items().stream().anyMatch(one -> {
                if (!(one instanceof String is)) {
                    throw bound.must("affix", "a text or a tuple of texts", one);
                }
                return affix(part, is, begin);
            });
        }
        return affix(part, bound.text("affix"), begin);
    }

    private static boolean affix(String text, String affix, boolean begin) {
        return begin ? text.startsWith(affix) : text.endsWith(affix);
    }

    /** The part of the text that arguments start and end leave. */
    private String window(Args.Bound bound) {
        if (bound.get("start", null) == null && bound.get("end", null) == null) {
            return text;
        }
        return (String) Access.slice(text, bound.get("start", null), bound.get("end", null), null, budget);
    }

    /** Whether argument start is behind the end: there is nothing then, not even the empty text. */
    private boolean beginsBehind(Args.Bound bound) {
        return bound.get("start", null) != null && bound.integer("start", 0) > PyText.length(text);
    }

    private int windowBegin(Args.Bound bound) {
        int start = bound.get("start", null) == null ? 0 : bound.integer("start", 0);
        int size = PyText.length(text);
        return Math.max(0, Math.min(size, start < 0 ? start + size : start));
    }

    private Object find(String name, Args.Bound bound) {
        String part = window(bound);
        String wanted = bound.text("sub");
        budget.search(part.length(), wanted.length());
        int at = name.startsWith("r") ? part.lastIndexOf(wanted) : part.indexOf(wanted);
        if (at < 0 || beginsBehind(bound)) {
            if (name.endsWith("index")) {
                throw TemplateError.fault("index() finds no " + Texts.repr(wanted, budget) + " in a text");
            }
            return BigInteger.ONE.negate();
        }
        return Args.number(windowBegin(bound) + (long) part.codePointCount(0, at));
    }

    private Object count(Args.Bound bound) {
        String part = window(bound);
        String wanted = bound.text("sub");
        budget.search(part.length(), wanted.length());
        if (wanted.isEmpty()) {
            return Args.number(PyText.length(part) + 1L);
        }
        long found = 0;
        for (int at = part.indexOf(wanted); at >= 0; at = part.indexOf(wanted, at + wanted.length())) {
            found++;
        }
        return Args.number(found);
    }

    private String justify(String how, Args.Bound bound) {
        bound.get("width");
        String fill = bound.text("fillchar", " ");
        if (PyText.length(fill) != 1) {
            throw TemplateError.fault("a text is filled up with one character, got " + PyText.length(fill));
        }
        int width = bound.integer("width", 0);
        return how.equals("center")
                ? center(text, width, fill, budget)
                : pad(text, width, fill, how.equals("rjust"), budget);
    }

    static String pad(String text, int width, String fill, boolean left, Budget budget) {
        int missing = Math.max(0, width - PyText.length(text));
        budget.text((long) text.length() + missing);
        return left ? fill.repeat(missing) + text : text + fill.repeat(missing);
    }

    static String center(String text, int width, String fill, Budget budget) {
        int missing = Math.max(0, width - PyText.length(text));
        budget.text((long) text.length() + missing);
        int left = missing / 2 + (missing & width & 1);
        return fill.repeat(left) + text + fill.repeat(missing - left);
    }

    private String zfill(int width) {
        boolean signed = text.startsWith("-") || text.startsWith("+");
        int missing = Math.max(0, width - PyText.length(text));
        budget.text((long) text.length() + missing);
        return (signed ? text.substring(0, 1) : "") + "0".repeat(missing) + (signed ? text.substring(1) : text);
    }

    /** Python's replace: between all characters where {@code old} is empty; all of them where count is negative. */
    static String replace(String text, String old, String with, int count, Budget budget) {
        budget.search(text.length(), old.length());
        int left = count < 0 ? Integer.MAX_VALUE : count;
        StringBuilder out = new StringBuilder();
        int begin = 0;
        if (old.isEmpty()) {
            while (left-- > 0) {
                out.append(with);
                budget.text(out.length());
                if (begin >= text.length()) {
                    return out.toString();
                }
                int end = text.offsetByCodePoints(begin, 1);
                out.append(text, begin, end);
                begin = end;
            }
            return out.append(text.substring(begin)).toString();
        }
        for (int at; left > 0 && (at = text.indexOf(old, begin)) >= 0; left--) {
            out.append(text, begin, at).append(with);
            budget.step();
            if (out.length() > Budget.MAX_TEXT) {
                budget.text(out.length());
            }
            begin = at + old.length();
        }
        budget.text((long) out.length() + text.length() - begin);
        return out.append(text, begin, text.length()).toString();
    }

    /** {@code separator.join(items)}: only of texts. */
    static String join(String separator, @Nullable Object items, Budget budget) {
        StringBuilder out = new StringBuilder();
        boolean first = true;
        for (Iterator<@Nullable Object> i = Sequences.iterate(items, budget); i.hasNext(); first = false) {
            Object item = i.next();
            if (!Types.isText(item)) {
                throw TemplateError.fault("join() joins texts, got a value of type " + Types.name(item));
            }
            append(out, first ? "" : separator, Texts.plain(item), budget);
        }
        return out.toString();
    }

    static void append(StringBuilder out, String separator, String text, Budget budget) {
        budget.text((long) separator.length() + text.length());
        if ((long) out.length() + separator.length() + text.length() > Budget.MAX_TEXT) {
            budget.text(Budget.MAX_TEXT + 1L);
        }
        out.append(separator).append(text);
    }
}
