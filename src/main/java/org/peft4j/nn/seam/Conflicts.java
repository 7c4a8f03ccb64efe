package org.peft4j.nn.seam;

import java.util.List;
import java.util.Optional;
import org.peft4j.error.ConfigException;

/**
 * Claims that cannot hold together for the same rows, found before anything is computed: two replacements of one tensor, a
 * low-rank update of a weight that is replaced, two prefixes of one attention. Low-rank updates of one layer add up, and a
 * layer's bias may be replaced beside them.
 */
final class Conflicts {
    private static final String WEIGHT = ".weight";

    private Conflicts() {}

    /** Refuses adapters that cannot apply to the same rows; the message names both, the place and the way out. */
    static void check(List<Adapter> adapters) {
        for (int i = 0; i < adapters.size(); i++) {
            for (int j = i + 1; j < adapters.size(); j++) {
                check(adapters.get(i), adapters.get(j));
            }
        }
    }

    private static void check(Adapter one, Adapter other) {
        one.replacements().keySet().stream()
                .filter(other.replacements()::containsKey)
                .findFirst()
                .ifPresent(tensor -> refuse(one, other, "both replace " + tensor));
        one.prefixes().keySet().stream()
                .filter(other.prefixes()::containsKey)
                .findFirst()
                .ifPresent(attention -> refuse(one, other, "both put a prefix before " + attention));
        replacedAndUpdated(one, other).ifPresent(tensor -> refuse(one, other, replacesAndUpdates(tensor)));
        replacedAndUpdated(other, one).ifPresent(tensor -> refuse(other, one, replacesAndUpdates(tensor)));
    }

    private static String replacesAndUpdates(String tensor) {
        return "cannot both apply: the first replaces " + tensor + ", to which the second adds a low-rank update";
    }

    private static void refuse(Adapter one, Adapter other, String what) {
        throw new ConfigException("adapters '" + one.name() + "' and '" + other.name() + "' " + what
                + "; give them to different rows, or load one without it");
    }

    /** Refuses an adapter that replaces a weight and updates it, too. */
    static void check(Adapter adapter) {
        replacedAndUpdated(adapter, adapter).ifPresent(tensor -> {
            throw new ConfigException("adapter '" + adapter.name() + "' replaces " + tensor
                    + " as a whole and adds a low-rank update to it; leave the module out of targets (exclude_modules does"
                    + " that) or out of modules_to_save");
        });
    }

    private static Optional<String> replacedAndUpdated(Adapter replaces, Adapter updates) {
        return updates.lowRanks().keySet().stream()
                .map(layer -> layer + WEIGHT)
                .filter(replaces.replacements()::containsKey)
                .findFirst();
    }
}
