package org.peft4j.data.template;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** What {@code cycler(…)} and {@code joiner(…)} give. */
sealed interface Helper {
    /** An attribute; {@link Frame#MISSING} for one that is not there. */
    @Nullable
    Object attribute(String name);

    /** Items that take turns. */
    final class Cycler implements Helper {
        private final List<@Nullable Object> items;
        private int next;

        Cycler(List<@Nullable Object> items) {
            if (items.isEmpty()) {
                throw TemplateError.fault("cycler needs something to take turns");
            }
            this.items = items;
        }

        @Override
        public @Nullable Object attribute(String name) {
            return switch (name) {
                case "current" -> items.get(next);
                case "next" ->
                    Callable.of("cycler.next", arguments -> {
                        Object item = items.get(next);
                        next = (next + 1) % items.size();
                        return item;
                    });
                case "reset" ->
                    Callable.of("cycler.reset", arguments -> {
                        next = 0;
                        return null;
                    });
                default -> Frame.MISSING;
            };
        }
    }

    /** Nothing the first time, then what goes between. */
    final class Joiner implements Helper, Callable {
        private final @Nullable Object separator;
        private boolean used;

        Joiner(@Nullable Object separator) {
            this.separator = separator;
        }

        @Override
        public @Nullable Object call(Args arguments) {
            boolean first = !used;
            used = true;
            return first ? "" : separator;
        }

        @Override
        public String name() {
            return "joiner";
        }

        @Override
        public @Nullable Object attribute(String name) {
            return Frame.MISSING;
        }
    }
}
