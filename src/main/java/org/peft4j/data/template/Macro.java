package org.peft4j.data.template;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** A macro, or the body of a {@code call} block: gives a text. */
final class Macro implements Callable {
    /** Renders the body. */
    interface Body {
        /**
         * @param values the values of all parameters and of what is read of caller, kwargs, varargs;
         *               {@link Frame#MISSING} for a parameter that was not given
         */
        String render(Map<String, @Nullable Object> values);
    }

    private final String name;
    private final List<String> parameters;
    private final Set<String> special;
    private final Body body;

    /**
     * @param special which of caller, kwargs, varargs the body reads
     */
    Macro(String name, List<String> parameters, Set<String> special, Body body) {
        this.name = name;
        this.parameters = parameters;
        this.special = special;
        this.body = body;
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public Object call(Args arguments) {
        List<@Nullable Object> given = arguments.positional();
        Map<String, @Nullable Object> named = new LinkedHashMap<>(arguments.named());
        Map<String, @Nullable Object> values = new LinkedHashMap<>();
        for (int i = 0; i < parameters.size(); i++) {
            String parameter = parameters.get(i);
            values.put(
                    parameter,
                    i < given.size()
                            ? given.get(i)
                            : named.containsKey(parameter) ? named.remove(parameter) : Frame.MISSING);
        }
        if (special.contains("caller")) {
            Object caller = named.remove("caller");
            values.put("caller", caller != null ? caller : new Undefined("there is no caller: use {% call %}"));
        }
        if (special.contains("kwargs")) {
            Dict more = new Dict();
            named.forEach(more::put);
            values.put("kwargs", more);
        } else if (!named.isEmpty()) {
            throw TemplateError.fault("macro '" + name + "' has no parameter '"
                    + named.keySet().iterator().next() + "', or got two values for it");
        }
        int taken = Math.min(parameters.size(), given.size());
        if (special.contains("varargs")) {
            values.put("varargs", new Tuple(given.subList(taken, given.size())));
        } else if (given.size() > taken) {
            throw TemplateError.fault(
                    "macro '" + name + "' takes at most " + parameters.size() + " arguments, got " + given.size());
        }
        return body.render(values);
    }
}
