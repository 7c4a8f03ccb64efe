package org.peft4j.cli;

/** Commands to copy. */
final class Shell {
    private Shell() {}

    /** A word as a shell takes it, in quotes where it has to be. */
    static String quote(Object word) {
        String text = word.toString();
        return text.matches("[\\w./@%+=:,-]+") ? text : "'" + text.replace("'", "'\\''") + "'";
    }
}
