package org.peft4j.report;

import java.util.List;

/** Builds HTML; every text goes through {@link #escape}, because names, labels and paths come from files. */
final class Html {
    private final StringBuilder out = new StringBuilder();

    static String escape(String text) {
        return text.replace("&", "&amp;")
                .replace("<", "&lt;")
                .replace(">", "&gt;")
                .replace("\"", "&quot;")
                .replace("'", "&#39;");
    }

    /** Adds markup as it is; format arguments are escaped. */
    Html add(String markup, Object... arguments) {
        Object[] escaped = new Object[arguments.length];
        for (int i = 0; i < arguments.length; i++) {
            escaped[i] = escape(String.valueOf(arguments[i]));
        }
        out.append(arguments.length == 0 ? markup : markup.formatted(escaped)).append('\n');
        return this;
    }

    /** A table with a heading row; the first cell of each row is its name, the others are aligned as numbers. */
    Html table(List<String> head, List<List<String>> rows) {
        add("<div class=\"scroll\"><table>");
        add("<tr>");
        head.forEach(cell -> add("<th>%s</th>", cell));
        add("</tr>");
        for (List<String> row : rows) {
            add("<tr>");
            for (int i = 0; i < row.size(); i++) {
                add(i == 0 ? "<th scope=\"row\">%s</th>" : "<td>%s</td>", row.get(i));
            }
            add("</tr>");
        }
        return add("</table></div>");
    }

    @Override
    public String toString() {
        return out.toString();
    }
}
