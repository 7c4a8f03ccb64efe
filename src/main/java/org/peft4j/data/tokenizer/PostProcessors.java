package org.peft4j.data.tokenizer;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;

/** Judges {@code post_processor}: which special tokens stand around a text. The library does not get it. */
final class PostProcessors {
    private final Vocabulary vocabulary;

    private PostProcessors(Vocabulary vocabulary) {
        this.vocabulary = vocabulary;
    }

    static Template judge(Part postProcessor, Vocabulary vocabulary) {
        return new PostProcessors(vocabulary).judge(postProcessor, 0);
    }

    private Template judge(Part p, int depth) {
        Components.checkDepth(p, depth);
        switch (p.at("type").text()) {
            case "TemplateProcessing" -> {
                p.only("type", "single", "pair", "special_tokens");
                return template(p);
            }
            case "BertProcessing" -> {
                p.only("type", "sep", "cls");
                return new Template(new int[] {pair(p.at("cls"))}, new int[] {pair(p.at("sep"))});
            }
            case "RobertaProcessing" -> {
                p.only("type", "sep", "cls", "trim_offsets", "add_prefix_space");
                p.at("trim_offsets").bool();
                p.at("add_prefix_space").bool();
                return new Template(new int[] {pair(p.at("cls"))}, new int[] {pair(p.at("sep"))});
            }
            case "ByteLevel" -> {
                PreTokenizers.byteLevel(p); // changes where tokens begin and end in the text, which nobody asks here
                return Template.NONE;
            }
            case "Sequence" -> {
                p.only("type", "processors");
                Template template = Template.NONE;
                for (Part each : p.at("processors").list()) {
                    template = template.inside(judge(each, depth + 1));
                }
                return template;
            }
            default ->
                throw Components.unknown(
                        p, "TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel", "Sequence");
        }
    }

    private int pair(Part pair) {
        List<Part> tokenAndId = pair.list();
        if (tokenAndId.size() != 2) {
            throw pair.must("[token, number]");
        }
        return id(tokenAndId.get(0), tokenAndId.get(1));
    }

    private int id(Part token, Part id) {
        OptionalInt known = vocabulary.id(token.text());
        int number = (int) id.integer(0, Vocabulary.MAX_ID);
        if (known.isEmpty()) {
            throw token.bad(token.where() + " is '" + token.text() + "', which the vocabulary lacks");
        }
        if (known.getAsInt() != number) {
            throw id.bad(id.where() + " says that '" + token.text() + "' has number " + number
                    + ", the vocabulary says " + known.getAsInt());
        }
        return number;
    }

    private Template template(Part p) {
        Map<String, int[]> specials = new HashMap<>();
        Part tokens = p.at("special_tokens");
        for (String name : tokens.keys()) {
            specials.put(name, special(tokens.at(name), name));
        }
        if (p.find("pair").isPresent()) {
            pieces(p.at("pair"), specials, true);
        }
        return pieces(p.at("single"), specials, false);
    }

    private int[] special(Part token, String name) {
        token.only("id", "ids", "tokens");
        if (!token.at("id").text().equals(name)) {
            throw token.at("id").must("'" + name + "', as it is listed");
        }
        List<Part> ids = token.at("ids").list();
        List<Part> names = token.at("tokens").list();
        if (ids.size() != names.size() || ids.isEmpty()) {
            throw token.bad(token.where() + " must have as many ids as tokens, at least one, got " + ids.size()
                    + " and " + names.size());
        }
        int[] numbers = new int[ids.size()];
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = id(names.get(i), ids.get(i));
        }
        return numbers;
    }

    /** The template of one text; of two texts only that it is well formed matters. */
    private static Template pieces(Part list, Map<String, int[]> specials, boolean pair) {
        List<Integer> before = new ArrayList<>();
        List<Integer> after = new ArrayList<>();
        Map<String, Integer> texts = new HashMap<>();
        for (Part piece : list.list()) {
            piece.only("SpecialToken", "Sequence");
            if (piece.map().size() != 1) {
                throw piece.must("{\"SpecialToken\": …} or {\"Sequence\": …}");
            }
            boolean text = piece.find("Sequence").isPresent();
            Part inner = piece.at(text ? "Sequence" : "SpecialToken");
            inner.only("id", "type_id");
            if (inner.at("type_id").integer(0, Vocabulary.MAX_ID) != 0 && !pair) {
                throw inner.at("type_id")
                        .must("0 where there is one text; other types of tokens are not given to models");
            }
            String id = inner.at("id").text();
            if (text) {
                texts.merge(
                        pair ? inner.at("id").oneOf("A", "B") : inner.at("id").oneOf("A"), 1, Integer::sum);
                continue;
            }
            int @Nullable [] numbers = specials.get(id);
            if (numbers == null) {
                throw inner.bad(inner.where() + ".id is '" + id + "', which special_tokens lacks");
            }
            for (int number : numbers) {
                (texts.isEmpty() ? before : after).add(number);
            }
        }
        if (!pair && !texts.equals(Map.of("A", 1))) {
            throw list.bad(list.where() + " must have the text, {\"Sequence\": {\"id\": \"A\", …}}, exactly once");
        }
        return new Template(
                before.stream().mapToInt(i -> i).toArray(),
                after.stream().mapToInt(i -> i).toArray());
    }
}
