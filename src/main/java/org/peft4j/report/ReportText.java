package org.peft4j.report;

import com.fasterxml.jackson.databind.JsonNode;
import java.math.BigDecimal;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeParseException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** How numbers, times and settings look in the report. */
final class ReportText {
    private ReportText() {}

    static String date(String instant) {
        try {
            return DateTimeFormatter.ofPattern("d MMMM yyyy, HH:mm 'UTC'", Locale.ENGLISH)
                    .format(Instant.parse(instant).atZone(ZoneOffset.UTC));
        } catch (DateTimeParseException e) {
            return instant;
        }
    }

    static String percent(double share) {
        return String.format(Locale.ROOT, share > 0 && share < 0.01 ? "%.2f %%" : "%.1f %%", 100 * share);
    }

    static String number(double value) {
        if (!Double.isFinite(value)) {
            return "–";
        }
        return String.format(Locale.ROOT, value != 0 && Math.abs(value) < 1e-3 ? "%.2e" : "%.4f", value);
    }

    static String whole(long value) {
        return String.format(Locale.ROOT, "%,d", value);
    }

    static String compact(long value) {
        if (value >= 10_000_000) {
            return String.format(Locale.ROOT, "%.1f M", value / 1e6);
        }
        return whole(value);
    }

    static String duration(double seconds) {
        long s = Math.round(seconds);
        if (s < 60) {
            return s + " s";
        }
        return s < 3600 ? s / 60 + " min " + s % 60 + " s" : s / 3600 + " h " + s % 3600 / 60 + " min";
    }

    /** A setting as somebody would write it: 5e-4, 16, true; a dash for nothing. */
    static String setting(String key, JsonNode value) {
        if (value.isNull() || value.isMissingNode() || (value.isContainerNode() && value.isEmpty())) {
            return "–";
        }
        if (value.isArray()) {
            List<String> items = new ArrayList<>();
            value.forEach(item -> items.add(item.isValueNode() ? item.asText() : item.toString()));
            return String.join(", ", items);
        }
        if (key.endsWith("_bytes")) {
            return String.format(Locale.ROOT, "%.1f GiB", value.asDouble() / (1L << 30));
        }
        if (value.isFloatingPointNumber() && Double.isFinite(value.asDouble())) {
            return shortest(value.asDouble());
        }
        return value.isValueNode() ? value.asText() : value.toString();
    }

    /** A number with no more digits than it needs: 0.01, 5e-4, 2000. */
    static String shortest(double value) {
        if (value == 0) {
            return "0";
        }
        BigDecimal number = BigDecimal.valueOf(value).stripTrailingZeros();
        int exponent = number.precision() - number.scale() - 1;
        if (exponent >= -3 && exponent < 7) {
            return number.toPlainString();
        }
        return number.movePointLeft(exponent).stripTrailingZeros().toPlainString() + "e" + exponent;
    }

    static String capitalised(String name) {
        return name.isEmpty() ? name : name.substring(0, 1).toUpperCase(Locale.ROOT) + name.substring(1);
    }
}
