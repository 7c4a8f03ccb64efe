package org.peft4j.data.template;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The methods of lists, tuples and dicts that change nothing. */
final class CollectionMethods {
    private CollectionMethods() {}

    static @Nullable Object of(Dict dict, String name, Budget budget) {
        return switch (name) {
            case "get" ->
                Callable.of("dict.get", arguments -> {
                    Args.Bound bound = arguments.bind("key", "default");
                    return dict.has(bound.get("key")) ? dict.get(bound.get("key")) : bound.get("default", null);
                });
            case "keys" -> view(dict, name, DictView.Kind.KEYS);
            case "values" -> view(dict, name, DictView.Kind.VALUES);
            case "items" -> view(dict, name, DictView.Kind.ITEMS);
            case "copy" ->
                Callable.of("dict.copy", arguments -> {
                    arguments.bind();
                    budget.steps(dict.size());
                    Dict copy = new Dict();
                    copy.putAll(dict);
                    return copy;
                });
            case "fromkeys" -> throw TemplateError.unsupported("'fromkeys' of a dict");
            default -> Frame.MISSING;
        };
    }

    private static Callable view(Dict dict, String name, DictView.Kind kind) {
        return Callable.of("dict." + name, arguments -> {
            arguments.bind();
            return new DictView(dict, kind);
        });
    }

    static @Nullable Object of(List<?> list, String name, Budget budget) {
        if (name.equals("copy")) {
            return Callable.of("list.copy", arguments -> {
                arguments.bind();
                budget.steps(list.size());
                return new ArrayList<@Nullable Object>(list);
            });
        }
        return sequence(list, "list", name, budget);
    }

    static @Nullable Object of(Tuple tuple, String name, Budget budget) {
        return sequence(tuple.items(), "tuple", name, budget);
    }

    private static @Nullable Object sequence(List<?> items, String type, String name, Budget budget) {
        return switch (name) {
            case "count" ->
                Callable.of(type + ".count", arguments -> {
                    Object wanted = arguments.bind("value").get("value");
                    long found = items.stream()
                            .filter(item -> Compare.equal(item, wanted, budget))
                            .count();
                    return Args.number(found);
                });
            case "index" ->
                Callable.of(type + ".index", arguments -> {
                    Args.Bound bound = arguments.bind("value", "start", "stop");
                    int begin = within(bound.integer("start", 0), items.size());
                    int end = within(bound.integer("stop", items.size()), items.size());
                    for (int i = begin; i < end; i++) {
                        if (Compare.equal(items.get(i), bound.get("value"), budget)) {
                            return Args.number(i);
                        }
                    }
                    throw TemplateError.fault(
                            "index() finds no " + Texts.repr(bound.get("value"), budget) + " in a " + type);
                });
            default -> Frame.MISSING;
        };
    }

    private static int within(int index, int size) {
        return Math.max(0, Math.min(size, index < 0 ? index + size : index));
    }
}
