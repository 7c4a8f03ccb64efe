package org.peft4j.data.template;

import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The names of one scope (template, body of a loop, macro, block), and what each is when the scope is entered. jinja2
 * decides that when it compiles, and where a name is both read and set the order in the template counts, not the order
 * in which things happen; templates rely on it, so it is done the same way here.
 */
final class Scope {
    enum Load {
        /** Given by who enters the scope. */
        PARAMETER,
        /** What the template was given under this name. */
        GIVEN,
        /** What the name is around the scope. */
        OUTER,
        /** Nothing until it is set. */
        UNDEFINED
    }

    private final @Nullable Scope parent;
    private Map<String, Load> loads = new LinkedHashMap<>();
    private Set<String> stores = new HashSet<>();

    Scope(@Nullable Scope parent) {
        this.parent = parent;
    }

    /** The names of this scope. */
    Map<String, Load> loads() {
        return loads;
    }

    void parameter(String name) {
        stores.add(name);
        loads.put(name, Load.PARAMETER);
    }

    void load(String name) {
        if (!knows(name)) {
            loads.put(name, Load.GIVEN);
        }
    }

    void store(String name) {
        stores.add(name);
        if (!loads.containsKey(name)) {
            loads.put(name, parent != null && parent.knows(name) ? Load.OUTER : Load.UNDEFINED);
        }
    }

    private boolean knows(String name) {
        return loads.containsKey(name) || (parent != null && parent.knows(name));
    }

    /** The same scope as seen in one branch of an {@code if}. */
    Scope branch() {
        Scope copy = new Scope(parent);
        copy.loads = new LinkedHashMap<>(loads);
        copy.stores = new HashSet<>(stores);
        return copy;
    }

    /** What is set in some branch only has its former value where that branch is not taken. */
    void join(Scope... branches) {
        Set<String> set = new HashSet<>();
        for (Scope branch : branches) {
            set.addAll(branch.stores);
        }
        set.removeAll(stores);
        for (Scope branch : branches) {
            loads.putAll(branch.loads);
            stores.addAll(branch.stores);
        }
        for (String name : set) {
            loads.put(name, parent != null && parent.knows(name) ? Load.OUTER : Load.GIVEN);
        }
    }
}
