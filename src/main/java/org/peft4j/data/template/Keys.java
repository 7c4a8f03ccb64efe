package org.peft4j.data.template;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A value as a key: equal keys of Python become equal objects of Java. */
final class Keys {
    private enum Special {
        NONE,
        UNDEFINED
    }

    private Keys() {}

    static Object of(@Nullable Object value) {
        if (value == null) {
            return Special.NONE;
        }
        if (value instanceof Undefined) {
            return Special.UNDEFINED;
        }
        if (value instanceof Boolean truth) {
            return truth ? BigInteger.ONE : BigInteger.ZERO;
        }
        if (value instanceof Markup markup) {
            return markup.text();
        }
        if (value instanceof Double number && Double.isFinite(number) && number == Math.rint(number)) {
            return new BigDecimal(number).toBigInteger();
        }
        if (value instanceof Tuple tuple) {
            List<Object> keys = new ArrayList<>();
            for (Object item : tuple.items()) {
                if (item instanceof Tuple) {
                    throw TemplateError.unsupported("a tuple in a tuple as a key");
                }
                keys.add(of(item));
            }
            return keys;
        }
        if (!isHashable(value)) {
            throw TemplateError.fault("a value of type " + Types.name(value) + " cannot be a key");
        }
        return value;
    }

    static boolean isHashable(@Nullable Object value) {
        return value instanceof Tuple tuple
                ? tuple.items().stream().allMatch(Keys::isHashable)
                : !(value instanceof List<?> || value instanceof Dict || value instanceof DictView);
    }
}
