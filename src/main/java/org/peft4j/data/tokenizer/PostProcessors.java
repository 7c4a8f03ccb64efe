package org.peft4j.data.tokenizer;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.tokenizer.Template.Piece;

/**
 * Judges {@code post_processor}: which special tokens stand around a text and between two. The library does not get it;
 * what it would do with it is followed here: each processor gets a list of parts, at first one for each text, and gives
 * another list.
 */
final class PostProcessors {
    /** The parts of a sequence that a processor sees apart from each other. */
    private record Parts(List<List<Piece>> list) {
        static Parts of(int texts) {
            List<List<Piece>> list = new ArrayList<>();
            for (int i = 0; i < texts; i++) {
                list.add(List.of(Piece.text(i, i)));
            }
            return new Parts(list);
        }

        Template joined() {
            return new Template(list.stream().flatMap(List::stream).toList());
        }
    }

    private final Vocabulary vocabulary;

    private PostProcessors(Vocabulary vocabulary) {
        this.vocabulary = vocabulary;
    }

    static Templates judge(Part postProcessor, Vocabulary vocabulary) {
        UnaryOperator<Parts> processor = new PostProcessors(vocabulary).judge(postProcessor, 0);
        Template single = processor.apply(Parts.of(1)).joined();
        if (!single.hasEachOf(1)) {
            throw postProcessor.bad("post_processor has a single text " + single + ", which it must have once");
        }
        return new Templates(single, pair(processor));
    }

    /** The template of two texts; null if there is none that has both of them once. */
    private static @Nullable Template pair(UnaryOperator<Parts> processor) {
        try {
            Template pair = processor.apply(Parts.of(2)).joined();
            return pair.hasEachOf(2) ? pair : null;
        } catch (org.peft4j.error.MalformedFileException e) {
            return null; // of interest only to those who have pairs
        }
    }

    private UnaryOperator<Parts> judge(Part p, int depth) {
        Components.checkDepth(p, depth);
        switch (p.at("type").text()) {
            case "TemplateProcessing" -> {
                p.only("type", "single", "pair", "special_tokens");
                return template(p);
            }
            case "BertProcessing" -> {
                p.only("type", "sep", "cls");
                int cls = pair(p.at("cls"));
                int sep = pair(p.at("sep"));
                return parts -> each(
                        parts,
                        (part, first) -> first
                                ? around(Piece.special(cls, 0), part, Piece.special(sep, 0))
                                : around(null, part, Piece.special(sep, 1)));
            }
            case "RobertaProcessing" -> {
                p.only("type", "sep", "cls", "trim_offsets", "add_prefix_space");
                p.at("trim_offsets").bool();
                p.at("add_prefix_space").bool();
                int cls = pair(p.at("cls"));
                int sep = pair(p.at("sep"));
                return parts -> each(
                        parts,
                        (part, first) ->
                                around(Piece.special(first ? cls : sep, 0), ofType(part, 0), Piece.special(sep, 0)));
            }
            case "ByteLevel" -> {
                PreTokenizers.byteLevel(p); // changes where tokens begin and end in the text, which nobody asks here
                return parts -> parts;
            }
            case "Sequence" -> {
                p.only("type", "processors");
                List<UnaryOperator<Parts>> all = new ArrayList<>();
                for (Part each : p.at("processors").list()) {
                    all.add(judge(each, depth + 1));
                }
                return parts -> {
                    Parts result = parts;
                    for (UnaryOperator<Parts> processor : all) {
                        result = processor.apply(result);
                    }
                    return result;
                };
            }
            default ->
                throw Components.unknown(
                        p, "TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel", "Sequence");
        }
    }

    private interface PartChange {
        List<Piece> of(List<Piece> part, boolean first);
    }

    private static Parts each(Parts parts, PartChange change) {
        List<List<Piece>> changed = new ArrayList<>();
        for (List<Piece> part : parts.list()) {
            changed.add(change.of(part, changed.isEmpty()));
        }
        return new Parts(changed);
    }

    private static List<Piece> around(@Nullable Piece before, List<Piece> part, Piece after) {
        return Stream.of(Stream.ofNullable(before), part.stream(), Stream.of(after))
                .flatMap(pieces -> pieces)
                .toList();
    }

    private static List<Piece> ofType(List<Piece> part, int type) {
        return part.stream().map(piece -> piece.withType(type)).toList();
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

    private UnaryOperator<Parts> template(Part p) {
        Map<String, int[]> specials = new HashMap<>();
        Part tokens = p.at("special_tokens");
        for (String name : tokens.keys()) {
            specials.put(name, special(tokens.at(name), name));
        }
        List<List<Piece>> pair =
                p.find("pair").map(two -> pieces(two, specials, true)).orElse(List.of());
        List<List<Piece>> single = pieces(p.at("single"), specials, false);
        return parts -> {
            int texts = parts.list().size();
            if (texts > 2) {
                throw p.bad(p.where() + " stands behind a processor that gives it " + texts
                        + " parts; a TemplateProcessing takes one or two");
            }
            return filled(texts == 1 ? single : pair, parts);
        };
    }

    /** Each piece of the template is a part: of special tokens, or one of those given. */
    private static Parts filled(List<List<Piece>> template, Parts parts) {
        List<List<Piece>> filled = new ArrayList<>();
        for (List<Piece> part : template) {
            int text = part.get(0).text();
            filled.add(
                    text < 0 ? part : ofType(parts.list().get(text), part.get(0).type()));
        }
        return new Parts(filled);
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

    /** The pieces of the template of one text or two. */
    private static List<List<Piece>> pieces(Part list, Map<String, int[]> specials, boolean pair) {
        List<List<Piece>> pieces = new ArrayList<>();
        Map<String, Integer> texts = new HashMap<>();
        for (Part piece : list.list()) {
            piece.only("SpecialToken", "Sequence");
            if (piece.map().size() != 1) {
                throw piece.must("{\"SpecialToken\": …} or {\"Sequence\": …}");
            }
            boolean text = piece.find("Sequence").isPresent();
            Part inner = piece.at(text ? "Sequence" : "SpecialToken");
            inner.only("id", "type_id");
            int type = (int) inner.at("type_id").integer(0, Vocabulary.MAX_ID);
            if (type != 0 && !pair) {
                throw inner.at("type_id").must("0 where there is one text; other types are given to pairs only");
            }
            String id = inner.at("id").text();
            if (text) {
                texts.merge(
                        pair ? inner.at("id").oneOf("A", "B") : inner.at("id").oneOf("A"), 1, Integer::sum);
                pieces.add(List.of(Piece.text(id.equals("A") ? 0 : 1, type)));
                continue;
            }
            int @Nullable [] numbers = specials.get(id);
            if (numbers == null) {
                throw inner.bad(inner.where() + ".id is '" + id + "', which special_tokens lacks");
            }
            List<Piece> tokens = new ArrayList<>();
            for (int number : numbers) {
                tokens.add(Piece.special(number, type));
            }
            pieces.add(tokens);
        }
        if (!pair && !texts.equals(Map.of("A", 1))) {
            throw list.bad(list.where() + " must have the text, {\"Sequence\": {\"id\": \"A\", …}}, exactly once");
        }
        return pieces;
    }
}
