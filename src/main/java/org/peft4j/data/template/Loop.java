package org.peft4j.data.template;

import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** {@code loop} inside of a loop. Items are taken as late as jinja2 takes them: a test may see what the body has set. */
final class Loop implements Callable {
    static final List<String> ATTRIBUTES = List.of(
            "index",
            "index0",
            "revindex",
            "revindex0",
            "first",
            "last",
            "length",
            "previtem",
            "nextitem",
            "depth",
            "depth0",
            "cycle",
            "changed");

    private static final Object NONE = new Object();

    private final @Nullable Integer knownLength;
    private final int depth0;
    private final @Nullable Function recurse;
    private final Budget budget;
    private Iterator<@Nullable Object> items;
    private int index0 = -1;
    private @Nullable Integer length;
    private @Nullable Object before = NONE;
    private @Nullable Object current = NONE;
    private @Nullable Object after = NONE;
    private @Nullable Object changed = NONE;

    /**
     * @param knownLength length of what is gone through, where it has one
     * @param recurse     renders the loop for other items; null for a loop that is not recursive
     */
    Loop(
            Iterator<@Nullable Object> items,
            @Nullable Integer knownLength,
            int depth0,
            @Nullable Function recurse,
            Budget budget) {
        this.items = items;
        this.knownLength = knownLength;
        this.depth0 = depth0;
        this.recurse = recurse;
        this.budget = budget;
    }

    boolean hasNext() {
        return peek() != NONE;
    }

    @Nullable
    Object next() {
        before = current;
        current = peek();
        after = NONE;
        index0++;
        return current;
    }

    private @Nullable Object peek() {
        if (after == NONE && items.hasNext()) {
            after = items.next();
        }
        return after;
    }

    int length() {
        if (length == null) {
            length = knownLength != null ? knownLength : countRest();
        }
        return length;
    }

    private int countRest() {
        List<@Nullable Object> rest = new ArrayList<>();
        items.forEachRemaining(item -> {
            budget.step();
            rest.add(item);
        });
        items = rest.iterator();
        return rest.size() + index0 + 1 + (after == NONE ? 0 : 1);
    }

    /** One of {@link #ATTRIBUTES}. */
    @Nullable
    Object attribute(String name) {
        return switch (name) {
            case "index" -> Args.number(index0 + 1);
            case "index0" -> Args.number(index0);
            case "revindex" -> Args.number(length() - index0);
            case "revindex0" -> Args.number(length() - index0 - 1);
            case "first" -> index0 == 0;
            case "last" -> !hasNext();
            case "length" -> Args.number(length());
            case "previtem" -> index0 == 0 ? new Undefined("there is no previous item") : before;
            case "nextitem" -> hasNext() ? peek() : new Undefined("there is no next item");
            case "depth" -> Args.number(depth0 + 1);
            case "depth0" -> Args.number(depth0);
            case "cycle" -> Callable.of("loop.cycle", this::cycle);
            default -> Callable.of("loop.changed", this::changed);
        };
    }

    private @Nullable Object cycle(Args arguments) {
        if (arguments.positional().isEmpty()) {
            throw TemplateError.fault("loop.cycle needs something to take turns");
        }
        return arguments.positional().get(index0 % arguments.positional().size());
    }

    private Object changed(Args arguments) {
        Tuple now = new Tuple(arguments.positional());
        boolean other = changed == NONE || !Compare.equal(changed, now, budget);
        changed = now;
        return other;
    }

    @Override
    public @Nullable Object call(Args arguments) {
        if (recurse == null) {
            throw TemplateError.fault("only a loop that is marked 'recursive' can be called");
        }
        return recurse.call(arguments);
    }

    @Override
    public String name() {
        return "loop";
    }
}
