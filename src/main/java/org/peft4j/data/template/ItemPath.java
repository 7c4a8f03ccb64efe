package org.peft4j.data.template;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** {@code attribute="a.b.0"}: what filters look up in each item. */
record ItemPath(List<Object> parts) {
    static ItemPath of(@Nullable Object attribute) {
        List<Object> parts = new ArrayList<>();
        if (attribute instanceof String text) {
            for (String part : text.split("\\.", -1)) {
                parts.add(part.matches("[0-9]{1,9}") ? new BigInteger(part) : part);
            }
        } else if (Types.integerOrNull(attribute) != null) {
            parts.add(Types.integerOrNull(attribute));
        } else if (attribute != null) {
            throw TemplateError.fault("an attribute must be a text or a whole number, got " + Types.name(attribute));
        }
        return new ItemPath(parts);
    }

    @Nullable
    Object of(@Nullable Object item, Budget budget) {
        return of(item, null, budget);
    }

    /** The same with something in place of what is not there. */
    @Nullable
    Object of(@Nullable Object item, @Nullable Object absent, Budget budget) {
        Object found = item;
        for (Object part : parts) {
            budget.step();
            found = Access.item(found, part, budget);
            if (found instanceof Undefined && absent != null) {
                found = absent;
            }
        }
        return found;
    }
}
