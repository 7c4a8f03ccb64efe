package org.peft4j.data.tokenizer;

import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A token that is found in a text before the model sees it.
 *
 * @param singleWord only where it is a word by itself
 * @param lstrip takes blanks in front of it along
 * @param rstrip takes blanks behind it along
 * @param normalized is sought, normalized, in the normalized text
 */
record AddedToken(
        String content, boolean singleWord, boolean lstrip, boolean rstrip, boolean normalized, boolean special) {

    /** A special token of which only the name is given. */
    static AddedToken special(String content) {
        return new AddedToken(content, false, false, false, false, true);
    }

    /** A token as {@code tokenizer.json} has it, where nothing may be missing. */
    static AddedToken strict(Part token) {
        token.only("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special");
        return new AddedToken(
                token.at("content").text(),
                token.at("single_word").bool(),
                token.at("lstrip").bool(),
                token.at("rstrip").bool(),
                token.at("normalized").bool(),
                token.at("special").bool());
    }

    /** A token as {@code tokenizer_config.json} and {@code special_tokens_map.json} have it. */
    static AddedToken lenient(Part token, boolean specialUnlessSaid) {
        token.only("__type", "content", "single_word", "lstrip", "rstrip", "normalized", "special");
        boolean special = token.bool("special", specialUnlessSaid);
        return new AddedToken(
                token.at("content").textNotEmpty(),
                token.bool("single_word", false),
                token.bool("lstrip", false),
                token.bool("rstrip", false),
                token.bool("normalized", !special),
                special);
    }

    AddedToken withSpecial(boolean other) {
        return new AddedToken(content, singleWord, lstrip, rstrip, normalized, other);
    }

    Map<String, @Nullable Object> json(int id) {
        Map<String, @Nullable Object> json = new LinkedHashMap<>();
        json.put("id", id);
        json.put("content", content);
        json.put("single_word", singleWord);
        json.put("lstrip", lstrip);
        json.put("rstrip", rstrip);
        json.put("normalized", normalized);
        json.put("special", special);
        return json;
    }
}
