package org.peft4j.data.tokenizer;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Whether what {@code tokenizer_config.json} says about normalizing is what {@code tokenizer.json} does, for the classes
 * of transformers that make their normalizer from the config.
 */
final class Agreement {
    private final Part config;
    private final List<Map<String, @Nullable Object>> components = new ArrayList<>();

    Agreement(Part config, TokenizerDocument document) {
        this.config = config;
        collect(document.normalizer());
        collect(document.preTokenizer());
    }

    private void collect(@Nullable Map<String, @Nullable Object> component) {
        if (component == null) {
            return;
        }
        if (Erasing.type(component).equals("Sequence")) {
            Erasing.members(component).forEach(this::collect);
        } else {
            components.add(component);
        }
    }

    /**
     * @param asItIs whether the class passes over the config
     * @param notes gets a line for what it passes over
     */
    void check(boolean asItIs, List<String> notes) {
        compare("do_lower_case", found("BertNormalizer", "lowercase") || has("Lowercase"), asItIs, notes);
        compare("strip_accents", found("BertNormalizer", "strip_accents") || has("StripAccents"), asItIs, notes);
        compare("tokenize_chinese_chars", found("BertNormalizer", "handle_chinese_chars"), asItIs, notes);
        compare("add_prefix_space", prefixSpace(), asItIs, notes);
    }

    private void compare(String key, boolean does, boolean asItIs, List<String> notes) {
        boolean says = config.bool(key, does);
        if (says == does) {
            return;
        }
        if (!asItIs) {
            throw config.bad(key + " is " + says + ", but tokenizer.json does as if it were " + does
                    + "; write both anew in Python: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)");
        }
        notes.add(config.file().getFileName() + ": '" + key + "' " + says
                + " is passed over, as transformers does for this tokenizer_class; tokenizer.json counts");
    }

    private boolean has(String type) {
        return components.stream().anyMatch(c -> Erasing.type(c).equals(type));
    }

    private boolean found(String type, String key) {
        return components.stream().anyMatch(c -> Erasing.type(c).equals(type) && Boolean.TRUE.equals(c.get(key)));
    }

    private boolean prefixSpace() {
        return found("ByteLevel", "add_prefix_space")
                || components.stream()
                        .anyMatch(c -> Erasing.type(c).equals("Metaspace")
                                && !Objects.equals(c.get("prepend_scheme"), "never"))
                || has("Prepend");
    }
}
