package org.peft4j.data.tokenizer;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The special and added tokens that the files beside a vocabulary name: {@code tokenizer_config.json}, and where it has
 * no {@code added_tokens_decoder}, the older {@code special_tokens_map.json} and {@code added_tokens.json}.
 */
final class SpecialTokens {
    /** The names that every tokenizer of transformers knows, in the order in which new ones get their numbers. */
    static final List<String> NAMES =
            List.of("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token");

    private final Map<String, AddedToken> named = new LinkedHashMap<>();
    private final List<AddedToken> extra = new ArrayList<>();
    private final Map<Integer, AddedToken> byId = new TreeMap<>();

    /** Whether a key names a special token: {@code …_token} with a text, as transformers has it. */
    static boolean isName(String key, Part value) {
        return key.endsWith("_token") && (value.value() instanceof String || value.value() instanceof Map<?, ?>);
    }

    /**
     * @param config      {@code tokenizer_config.json}; null for one that is not there
     * @param specialsMap {@code special_tokens_map.json}, likewise
     * @param addedTokens {@code added_tokens.json}, likewise
     * @param tokenizer   {@code tokenizer.json}, likewise
     */
    static SpecialTokens read(
            @Nullable Part config, @Nullable Part specialsMap, @Nullable Part addedTokens, @Nullable Part tokenizer) {
        SpecialTokens tokens = new SpecialTokens();
        if (config != null) {
            tokens.readNamed(config);
        }
        if (config != null && config.find("added_tokens_decoder").isPresent()) {
            Part decoder = config.at("added_tokens_decoder");
            for (String id : decoder.keys()) {
                tokens.byId.put(id(decoder, id), AddedToken.lenient(decoder.at(id), false));
            }
        } else {
            tokens.readOlder(specialsMap, addedTokens, tokenizer);
        }
        return tokens;
    }

    private void readOlder(@Nullable Part specialsMap, @Nullable Part addedTokens, @Nullable Part tokenizer) {
        if (specialsMap != null) {
            readNamed(specialsMap);
        }
        if (addedTokens != null) {
            for (String content : addedTokens.keys()) {
                boolean special = isSpecial(content);
                byId.put(
                        (int) addedTokens.at(content).integer(0, Vocabulary.MAX_ID),
                        new AddedToken(content, false, false, false, !special, special));
            }
        }
        if (tokenizer != null) {
            for (Part token : tokenizer.find("added_tokens").map(Part::list).orElse(List.of())) {
                byId.put((int) token.at("id").integer(0, Vocabulary.MAX_ID), AddedToken.strict(token));
            }
        }
    }

    private void readNamed(Part file) {
        for (String key : file.keys()) {
            Part value = file.at(key);
            if (key.equals("additional_special_tokens") || key.equals("extra_special_tokens")) {
                readExtra(value);
            } else if (key.equals("model_specific_special_tokens")) {
                value.keys().forEach(name -> named.put(name, token(value.at(name))));
            } else if (NAMES.contains(key) && value.value() != null || isName(key, value)) {
                named.put(key, token(value));
            }
        }
    }

    private void readExtra(Part value) {
        if (value.value() instanceof Map<?, ?>) {
            value.keys().forEach(name -> named.put(name, token(value.at(name))));
        } else if (value.value() != null) {
            value.list().forEach(each -> extra.add(token(each)));
        }
    }

    private static AddedToken token(Part value) {
        return value.value() instanceof String
                ? AddedToken.special(value.textNotEmpty())
                : AddedToken.lenient(value, true);
    }

    private static int id(Part decoder, String text) {
        try {
            int id = Integer.parseInt(text);
            if (id >= 0 && id <= Vocabulary.MAX_ID) {
                return id;
            }
        } catch (NumberFormatException e) {
            // said below, as a number out of range is
        }
        throw decoder.bad(decoder.where() + " must have tokens' numbers as keys, got '" + text + "'");
    }

    private boolean isSpecial(String content) {
        return named.values().stream().anyMatch(t -> t.content().equals(content))
                || extra.stream().anyMatch(t -> t.content().equals(content));
    }

    /** The text of a special token, if one is named. */
    Optional<String> text(String name) {
        return Optional.ofNullable(named.get(name)).map(AddedToken::content);
    }

    /** The texts of all that have a name, by that name. */
    Map<String, String> texts() {
        Map<String, String> texts = new LinkedHashMap<>();
        named.forEach((name, token) -> texts.put(name, token.content()));
        return texts;
    }

    /** A special token that a tokenizer has where no file names one. */
    void orDefault(String name, String content) {
        named.putIfAbsent(name, AddedToken.special(content));
    }

    /** All of them in the order in which those outside of the vocabulary get their numbers. */
    List<AddedToken> all() {
        Map<String, AddedToken> all = new LinkedHashMap<>();
        byId.values()
                .forEach(token -> all.put(
                        token.content(),
                        named.values().stream().anyMatch(n -> n.content().equals(token.content()))
                                ? token.withSpecial(true)
                                : token));
        NAMES.stream().filter(named::containsKey).map(named::get).forEach(t -> all.putIfAbsent(t.content(), t));
        named.values().forEach(t -> all.putIfAbsent(t.content(), t));
        extra.forEach(t -> all.putIfAbsent(t.content(), t));
        return List.copyOf(all.values());
    }

    /** The numbers of the tokens that have a name, by that name, where the vocabulary has them. */
    Map<String, Integer> named(Function<String, OptionalInt> vocabulary) {
        Map<String, Integer> ids = new LinkedHashMap<>();
        named.forEach((name, token) -> vocabulary.apply(token.content()).ifPresent(id -> ids.put(name, id)));
        return ids;
    }

    /** The numbers that the files give to tokens. */
    Map<String, Long> ids() {
        Map<String, Long> ids = new LinkedHashMap<>();
        byId.forEach((id, token) -> ids.put(token.content(), (long) id));
        return ids;
    }
}
