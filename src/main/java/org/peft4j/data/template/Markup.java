package org.peft4j.data.template;

/** A text that {@code |safe} or {@code |escape} marked: what is added to it with {@code +} is escaped for HTML. */
record Markup(String text) {
    static Markup escape(String text) {
        return new Markup(text.replace("&", "&amp;")
                .replace(">", "&gt;")
                .replace("<", "&lt;")
                .replace("'", "&#39;")
                .replace("\"", "&#34;"));
    }
}
