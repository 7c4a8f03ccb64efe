package org.peft4j.data.template;

import static java.util.Map.entry;

import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** Filters that make texts. */
final class TextFilters {
    static final Map<String, Filters.Filter> ALL = Map.ofEntries(
            entry("capitalize", plain(PyText::capitalize)),
            entry("center", TextFilters::center),
            entry("e", TextFilters::escape),
            entry("escape", TextFilters::escape),
            entry("format", TextFilters::format),
            entry("indent", TextFilters::indent),
            entry("join", TextFilters::join),
            entry("lower", plain(PyText::lower)),
            entry("replace", TextFilters::replace),
            entry("safe", TextFilters::safe),
            entry("string", TextFilters::string),
            entry("title", plain(TextFilters::title)),
            entry("tojson", (input, arguments, all) -> JsonText.write(input, arguments, all.budget())),
            entry("trim", TextFilters::trim),
            entry("truncate", TextFilters::truncate),
            entry("upper", plain(PyText::upper)),
            entry("wordcount", TextFilters::wordCount));

    /** Where a word begins for {@code title}; not as for the method of this name. */
    private static final Pattern BETWEEN_WORDS = Pattern.compile("[-" + PyText.SPACE_CLASS + "({\\[<]+");

    private static final Pattern WORD = Pattern.compile("[\\p{L}\\p{N}_]+");

    private TextFilters() {}

    private static Filters.Filter plain(UnaryOperator<String> function) {
        return (input, arguments, all) -> {
            arguments.bind();
            return like(input, function.apply(text(input, all)));
        };
    }

    /** The input as a text. */
    private static String text(@Nullable Object input, Filters all) {
        String text = Texts.of(input, all.budget());
        all.budget().text(text.length());
        return text;
    }

    /** What is made of a marked text is marked. */
    private static Object like(@Nullable Object input, String result) {
        return input instanceof Markup ? new Markup(result) : result;
    }

    private static void notMarked(@Nullable Object input, Args arguments) {
        if (input instanceof Markup) {
            throw TemplateError.unsupported(arguments.function() + " behind |safe or |escape");
        }
    }

    private static String title(String text) {
        StringBuilder out = new StringBuilder();
        Matcher between = BETWEEN_WORDS.matcher(text);
        int begin = 0;
        while (between.find()) {
            word(text.substring(begin, between.start()), out);
            out.append(between.group());
            begin = between.end();
        }
        word(text.substring(begin), out);
        return out.toString();
    }

    private static void word(String word, StringBuilder out) {
        if (!word.isEmpty()) {
            int first = word.offsetByCodePoints(0, 1);
            out.append(PyText.upper(word.substring(0, first))).append(PyText.lower(word.substring(first)));
        }
    }

    private static Object center(@Nullable Object input, Args arguments, Filters all) {
        int width = arguments.bind("width").integer("width", 80);
        return like(input, TextMethods.center(text(input, all), width, " ", all.budget()));
    }

    private static Object escape(@Nullable Object input, Args arguments, Filters all) {
        arguments.bind();
        return input instanceof Markup ? input : Markup.escape(text(input, all));
    }

    private static Object safe(@Nullable Object input, Args arguments, Filters all) {
        arguments.bind();
        return input instanceof Markup ? input : new Markup(text(input, all));
    }

    private static Object string(@Nullable Object input, Args arguments, Filters all) {
        arguments.bind();
        return input instanceof Markup ? input : text(input, all);
    }

    private static Object format(@Nullable Object input, Args arguments, Filters all) {
        notMarked(input, arguments);
        if (!arguments.named().isEmpty()) {
            if (!arguments.positional().isEmpty()) {
                throw TemplateError.fault("filter 'format' takes values with or without names, not both");
            }
            Dict named = new Dict();
            arguments.named().forEach(named::put);
            return Printf.format(text(input, all), named, all.budget());
        }
        return Printf.format(text(input, all), new Tuple(arguments.positional()), all.budget());
    }

    private static Object indent(@Nullable Object input, Args arguments, Filters all) {
        Args.Bound bound = arguments.bind("width", "first", "blank");
        String by = bound.get("width", null) instanceof String given
                ? given
                : TextMethods.pad("", bound.integer("width", 4), " ", false, all.budget());
        if (!Types.isText(input)) {
            throw input instanceof Undefined missing
                    ? missing.fault()
                    : TemplateError.fault("filter 'indent' needs a text, got " + Types.name(input));
        }
        List<Object> lines = PyText.lines(text(input, all) + "\n", false);
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < lines.size(); i++) {
            String line = (String) lines.get(i);
            boolean indented = i == 0 ? bound.isTrue("first") : bound.isTrue("blank") || !line.isEmpty();
            TextMethods.append(out, i == 0 ? "" : "\n", (indented ? by : "") + line, all.budget());
        }
        return like(input, out.toString());
    }

    private static Object join(@Nullable Object input, Args arguments, Filters all) {
        Args.Bound bound = arguments.bind("d", "attribute");
        String separator = Texts.of(bound.get("d", ""), all.budget());
        ItemPath path = bound.get("attribute", null) == null ? null : ItemPath.of(bound.get("attribute"));
        StringBuilder out = new StringBuilder();
        boolean first = true;
        for (Iterator<@Nullable Object> i = Sequences.iterate(input, all.budget()); i.hasNext(); first = false) {
            Object item = i.next();
            item = path == null ? item : path.of(item, all.budget());
            TextMethods.append(out, first ? "" : separator, Texts.of(item, all.budget()), all.budget());
        }
        return out.toString();
    }

    private static Object replace(@Nullable Object input, Args arguments, Filters all) {
        Args.Bound bound = arguments.bind("old", "new", "count");
        Budget budget = all.budget();
        return TextMethods.replace(
                Texts.of(input, budget),
                Texts.of(bound.get("old"), budget),
                Texts.of(bound.get("new"), budget),
                bound.get("count", null) == null ? -1 : bound.integer("count", -1),
                budget);
    }

    private static Object trim(@Nullable Object input, Args arguments, Filters all) {
        Args.Bound bound = arguments.bind("chars");
        String text = text(input, all);
        if (bound.get("chars", null) == null) {
            return like(input, PyText.strip(text, PyText::isSpace, true, true));
        }
        String chars = bound.text("chars");
        all.budget().steps(((long) text.length() * chars.length()) >> 6);
        return like(input, PyText.strip(text, c -> chars.indexOf(c) >= 0, true, true));
    }

    private static @Nullable Object truncate(@Nullable Object input, Args arguments, Filters all) {
        Args.Bound bound = arguments.bind("length", "killwords", "end", "leeway");
        int length = bound.integer("length", 255);
        String end = bound.text("end", "...");
        int leeway = bound.get("leeway", null) == null ? 5 : bound.integer("leeway", 5);
        notMarked(input, arguments);
        int keep = length - PyText.length(end);
        if (keep < 0 || leeway < 0) {
            throw TemplateError.fault("filter 'truncate' needs a length of at least that of its end");
        }
        if (Sequences.length(input, all.budget()) <= length + leeway) {
            return input;
        }
        if (!(input instanceof String text)) {
            throw TemplateError.fault("filter 'truncate' needs a text, got " + Types.name(input));
        }
        String kept = PyText.between(text, 0, keep);
        int space = kept.lastIndexOf(' ');
        return (bound.isTrue("killwords") || space < 0 ? kept : kept.substring(0, space)) + end;
    }

    private static Object wordCount(@Nullable Object input, Args arguments, Filters all) {
        arguments.bind();
        return Args.number(WORD.matcher(text(input, all)).results().count());
    }
}
