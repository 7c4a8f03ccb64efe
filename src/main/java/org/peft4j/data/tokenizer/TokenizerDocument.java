package org.peft4j.data.tokenizer;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;

/**
 * A tokenizer that was judged: every component is known, every number and token that it names exists. The library gets
 * {@link #json}, which says only what was understood, and neither cuts, pads, nor adds tokens around a text: that is done
 * here, by {@link #template} and {@link #pairTemplate}.
 */
public final class TokenizerDocument {
    private static final JsonMapper MAPPER = JsonMapper.builder().build();

    private final Path file;
    private final Map<String, @Nullable Object> model;
    private final @Nullable Map<String, @Nullable Object> normalizer;
    private final @Nullable Map<String, @Nullable Object> preTokenizer;
    private final Map<AddedToken, Integer> added;
    private final Set<Integer> addedIds;
    private final Vocabulary vocabulary;
    private final Templates templates;
    private final List<DecodeStep> decoder;
    private final Map<AddedToken, Integer> decodable;
    private final TextLimit limit;
    private final boolean cutsLeft;

    TokenizerDocument(
            Path file,
            Map<String, @Nullable Object> model,
            @Nullable Map<String, @Nullable Object> normalizer,
            @Nullable Map<String, @Nullable Object> preTokenizer,
            Map<AddedToken, Integer> added,
            Vocabulary vocabulary,
            Templates templates,
            List<DecodeStep> decoder,
            Map<AddedToken, Integer> decodable,
            TextLimit limit,
            boolean cutsLeft) {
        this.file = file;
        this.model = model;
        this.normalizer = normalizer;
        this.preTokenizer = preTokenizer;
        this.added = added;
        this.vocabulary = vocabulary;
        this.addedIds = new HashSet<>(added.values());
        if (model.get("unk_token") instanceof String unknown) {
            vocabulary.id(unknown).ifPresent(addedIds::remove);
        } else if (model.get("unk_id") instanceof Number unknown) {
            addedIds.remove(unknown.intValue());
        }
        this.templates = templates;
        this.decoder = decoder;
        this.decodable = decodable;
        this.limit = limit;
        this.cutsLeft = cutsLeft;
    }

    /**
     * Judges a {@code tokenizer.json} that counts as it is.
     *
     * @throws MalformedFileException if it is none, or asks for something that is not known
     */
    static TokenizerDocument of(Path file, Map<String, @Nullable Object> content) {
        return judge(Part.root(file, content), new Reading());
    }

    /** What others decide about a {@code tokenizer.json}. */
    static final class Reading {
        /** Tokens that a config adds; they count over tokens of the same name in the file. */
        List<AddedToken> more = List.of();
        /** Whether special tokens in a text are text. */
        boolean splitSpecialTokens;
        /** Whether the beginning of a long text is cut; null if the file decides. */
        @Nullable
        Boolean cutsLeft;
    }

    static TokenizerDocument judge(Part root, Reading reading) {
        checkTop(root);
        Models.Judged model = Models.judge(root.at("model"));
        TextLimit limit = new TextLimit();
        Map<String, @Nullable Object> normalizer =
                root.find("normalizer").map(n -> Normalizers.judge(n, limit)).orElse(null);
        Map<String, @Nullable Object> preTokenizer = root.find("pre_tokenizer")
                .map(p -> PreTokenizers.judge(p, limit))
                .orElse(null);
        List<DecodeStep> decoder =
                root.find("decoder").map(Decoders::judge).orElse(List.of(DecodeSteps.blanksBetween()));
        List<AddedToken> tokens = new ArrayList<>();
        Map<String, Long> ids = new LinkedHashMap<>();
        for (Part token : root.find("added_tokens").map(Part::list).orElse(List.of())) {
            AddedToken read = AddedToken.strict(token);
            long id = token.at("id").integer(0, Vocabulary.MAX_ID);
            if (read.content().isEmpty()) {
                continue; // the library passes over it, too
            }
            if (ids.put(read.content(), id) != null) {
                throw token.bad(token.where() + ": '" + read.content() + "' is listed twice");
            }
            tokens.add(read);
        }
        Map<AddedToken, Integer> added =
                added(root, merged(root, tokens, reading.more), ids, model.vocabulary(), normalizer);
        Templates templates = root.find("post_processor")
                .map(p -> PostProcessors.judge(p, model.vocabulary()))
                .orElse(Templates.NONE);
        boolean cutsLeft = reading.cutsLeft != null ? reading.cutsLeft : directionLeft(root);
        return new TokenizerDocument(
                root.file(),
                model.json(),
                normalizer,
                preTokenizer,
                reading.splitSpecialTokens ? withoutSpecial(root, added, model.vocabulary()) : added,
                model.vocabulary(),
                templates,
                decoder,
                added,
                limit,
                cutsLeft);
    }

    /** Judges the top of a {@code tokenizer.json}, its cutting and padding; they do not apply, apart from the direction. */
    static void checkTop(Part root) {
        root.only(
                "version",
                "truncation",
                "padding",
                "added_tokens",
                "normalizer",
                "pre_tokenizer",
                "post_processor",
                "decoder",
                "model");
        root.find("version").ifPresent(version -> version.oneOf("1.0"));
        root.find("truncation").ifPresent(t -> {
            t.only("direction", "max_length", "strategy", "stride");
            t.find("direction").ifPresent(d -> d.oneOf("Left", "Right"));
        });
        root.find("padding")
                .ifPresent(p ->
                        p.only("strategy", "direction", "pad_to_multiple_of", "pad_id", "pad_type_id", "pad_token"));
        root.at("model").map();
    }

    /** Whether the file cuts the beginnings of long texts: its length does not apply, its direction does. */
    static boolean directionLeft(Part root) {
        return root.find("truncation")
                .flatMap(t -> t.find("direction"))
                .map(d -> d.text().equals("Left"))
                .orElse(false);
    }

    /** The tokens of the file, and those of a config that differ or are new. */
    private static List<AddedToken> merged(Part root, List<AddedToken> tokens, List<AddedToken> more) {
        Map<String, AddedToken> byName = new LinkedHashMap<>();
        tokens.forEach(token -> byName.put(token.content(), token));
        for (AddedToken token : more) {
            AddedToken known = byName.put(token.content(), token);
            if (known != null && (known.normalized() != token.normalized() || known.special() != token.special())) {
                throw root.bad("the token '" + token.content() + "' is special and normalized here: "
                        + known.special() + ", " + known.normalized() + "; in tokenizer_config.json: "
                        + token.special() + ", " + token.normalized() + "; they must agree");
            }
        }
        return List.copyOf(byName.values());
    }

    /** Gives numbers to added tokens as the library does, and refuses a file that says other ones. */
    static Map<AddedToken, Integer> added(
            Part root,
            List<AddedToken> tokens,
            Map<String, Long> ids,
            Vocabulary vocabulary,
            @Nullable Map<String, @Nullable Object> normalizer) {
        Map<AddedToken, Integer> added = new LinkedHashMap<>();
        for (AddedToken token : tokens) {
            String name = "the added token '" + token.content() + "'";
            if (token.normalized() && Erasing.mayErase(normalizer, token.content())) {
                throw root.bad(name + " is normalized, and the normalizer may leave nothing of it");
            }
            OptionalInt id = vocabulary.add(token.content());
            if (id.isEmpty()) {
                throw root.bad(name + " gets a number that another token has or that is too large; numbers of the"
                        + " vocabulary must be without holes where tokens are added");
            }
            Long said = ids.get(token.content());
            if (said != null && said != id.getAsInt()) {
                throw root.bad(
                        name + " has number " + said + ", but its place in the vocabulary gives it " + id.getAsInt());
            }
            added.put(token, id.getAsInt());
        }
        return added;
    }

    /** Special tokens are text then; those with numbers behind the vocabulary have to stay, to keep others' numbers. */
    static Map<AddedToken, Integer> withoutSpecial(Part root, Map<AddedToken, Integer> added, Vocabulary vocabulary) {
        Map<AddedToken, Integer> kept = new LinkedHashMap<>();
        Set<String> behind = new HashSet<>();
        added.forEach((token, id) -> {
            if (token.special() && vocabulary.inModel(token.content()).isEmpty()) {
                behind.add(token.content());
            } else if (!token.special()) {
                kept.put(token, id);
            }
        });
        if (!behind.isEmpty()
                && kept.keySet().stream()
                        .anyMatch(t -> vocabulary.inModel(t.content()).isEmpty())) {
            throw root.bad("split_special_tokens is true, which is not done where special tokens stand outside of the"
                    + " model's vocabulary beside others: " + behind);
        }
        return kept;
    }

    /**
     * Whether a number is that of an added token, which is found in a text before the model sees it. The unknown token is
     * taken for the model's, which gives it more often.
     */
    public boolean isAdded(int token) {
        return addedIds.contains(token);
    }

    /** The number of a token, added or not. */
    OptionalInt id(String token) {
        return vocabulary.id(token);
    }

    /**
     * What makes text of tokens.
     *
     * @param cleanUp whether tokenizer_config.json wants blanks taken away
     * @param evenOfBpe whether it insists on that for BPE, too, where transformers passes over it
     */
    TokenDecoder decoder(boolean cleanUp, boolean evenOfBpe) {
        boolean bpe = "BPE".equals(model.get("type"));
        return new TokenDecoder(file, model, decodable, decoder, cleanUp && (!bpe || evenOfBpe));
    }

    /** The file it is from, for messages. */
    public Path file() {
        return file;
    }

    /** How many special tokens stand around a text. */
    public int specialTokens() {
        return templates.single().specialTokens();
    }

    /** Whether the beginning of a text that is too long goes, instead of its end. */
    public boolean cutsLeft() {
        return cutsLeft;
    }

    /** The special tokens around the tokens of a text. */
    public int[] around(int[] tokens) {
        return templates.single().tokens(tokens);
    }

    /** What stands where around one text. */
    public Template template() {
        return templates.single();
    }

    /**
     * What stands where around two texts.
     *
     * @throws MalformedFileException if the file does not say it
     */
    public Template pairTemplate() {
        Template pair = templates.pair();
        if (pair == null) {
            throw new MalformedFileException(
                    file,
                    -1,
                    "it has no place for a second text: post_processor must have a pair with each of both texts once;"
                            + " this tokenizer cannot take pairs of texts");
        }
        return pair;
    }

    /** Whether the library may get this text; else it is too long. */
    public boolean takes(String text) {
        return limit.allows(text);
    }

    @Nullable
    Map<String, @Nullable Object> normalizer() {
        return normalizer;
    }

    @Nullable
    Map<String, @Nullable Object> preTokenizer() {
        return preTokenizer;
    }

    Set<AddedToken> added() {
        return added.keySet();
    }

    /** The document for the library. */
    public String json() {
        Map<String, @Nullable Object> json = new LinkedHashMap<>();
        json.put("version", "1.0");
        json.put("truncation", null);
        json.put("padding", null);
        json.put(
                "added_tokens",
                added.entrySet().stream()
                        .map(e -> e.getKey().json(e.getValue()))
                        .toList());
        json.put("normalizer", normalizer);
        json.put("pre_tokenizer", preTokenizer);
        json.put("post_processor", null);
        json.put("decoder", null);
        json.put("model", model);
        try {
            return MAPPER.writeValueAsString(json);
        } catch (JsonProcessingException e) {
            throw new AssertionError("maps, lists, texts and numbers could not be written", e);
        }
    }
}
