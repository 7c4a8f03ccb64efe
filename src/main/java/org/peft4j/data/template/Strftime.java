package org.peft4j.data.template;

import java.time.LocalDateTime;
import java.time.format.TextStyle;
import java.time.temporal.ChronoField;
import java.time.temporal.IsoFields;
import java.util.Locale;

/** Python's strftime for a time without a zone, in English as Python has it unless told. */
final class Strftime {
    private final LocalDateTime time;

    private Strftime(LocalDateTime time) {
        this.time = time;
    }

    static String format(String format, LocalDateTime time) {
        Strftime strftime = new Strftime(time);
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < format.length(); i++) {
            char c = format.charAt(i);
            if (c != '%' || i + 1 == format.length()) {
                out.append(c);
                continue;
            }
            char kind = format.charAt(++i);
            boolean bare = kind == '-' && i + 1 < format.length(); // %-d: without the zero before it
            if (bare) {
                kind = format.charAt(++i);
            }
            String field = strftime.field(kind);
            out.append(bare && field.length() > 1 ? field.replaceFirst("^[0 ]+(?=.)", "") : field);
        }
        return out.toString();
    }

    private String field(char kind) {
        return switch (kind) {
            case 'Y' -> String.valueOf(time.getYear());
            case 'C' -> digits(time.getYear() / 100, 2);
            case 'y' -> digits(time.getYear() % 100, 2);
            case 'm' -> digits(time.getMonthValue(), 2);
            case 'd' -> digits(time.getDayOfMonth(), 2);
            case 'e' -> String.format("%2d", time.getDayOfMonth());
            case 'H' -> digits(time.getHour(), 2);
            case 'I' -> digits(time.get(ChronoField.CLOCK_HOUR_OF_AMPM), 2);
            case 'k' -> String.format("%2d", time.getHour());
            case 'l' -> String.format("%2d", time.get(ChronoField.CLOCK_HOUR_OF_AMPM));
            case 'M' -> digits(time.getMinute(), 2);
            case 'S' -> digits(time.getSecond(), 2);
            case 'f' -> digits(time.getNano() / 1000, 6);
            case 'p' -> time.getHour() < 12 ? "AM" : "PM";
            case 'P' -> time.getHour() < 12 ? "am" : "pm";
            case 'B' -> time.getMonth().getDisplayName(TextStyle.FULL, Locale.ENGLISH);
            case 'b', 'h' ->
                time.getMonth().getDisplayName(TextStyle.FULL, Locale.ENGLISH).substring(0, 3);
            case 'A' -> time.getDayOfWeek().getDisplayName(TextStyle.FULL, Locale.ENGLISH);
            case 'a' ->
                time.getDayOfWeek()
                        .getDisplayName(TextStyle.FULL, Locale.ENGLISH)
                        .substring(0, 3);
            case 'j' -> digits(time.getDayOfYear(), 3);
            case 'u' -> String.valueOf(time.getDayOfWeek().getValue());
            case 'w' -> String.valueOf(time.getDayOfWeek().getValue() % 7);
            case 'G' -> String.valueOf(time.get(IsoFields.WEEK_BASED_YEAR));
            case 'V' -> digits(time.get(IsoFields.WEEK_OF_WEEK_BASED_YEAR), 2);
            case 'U' -> digits(week(time.getDayOfWeek().getValue() % 7), 2);
            case 'W' -> digits(week(time.getDayOfWeek().getValue() - 1), 2);
            case 'F' -> field('Y') + "-" + field('m') + "-" + field('d');
            case 'D', 'x' -> field('m') + "/" + field('d') + "/" + field('y');
            case 'T', 'X' -> field('H') + ":" + field('M') + ":" + field('S');
            case 'R' -> field('H') + ":" + field('M');
            case 'r' -> field('I') + ":" + field('M') + ":" + field('S') + " " + field('p');
            case 'c' -> field('a') + " " + field('b') + " " + field('e') + " " + field('T') + " " + field('Y');
            case 'z', 'Z' -> ""; // the time has no zone
            case 'n' -> "\n";
            case 't' -> "\t";
            case '%' -> "%";
            default -> throw TemplateError.unsupported("'%" + kind + "' of strftime_now");
        };
    }

    /** Number of the week, the first day of a week being the day from which {@code sinceFirst} counts. */
    private int week(int sinceFirst) {
        return (time.getDayOfYear() + 6 - sinceFirst) / 7;
    }

    private static String digits(int number, int width) {
        return String.format("%0" + width + "d", number);
    }
}
