package org.peft4j.data.tokenizer;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.ForeignFormats;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;

/**
 * The tokenizer of a model directory, as the AutoTokenizer of transformers 5.18 makes it. For a {@code BertTokenizer} (a
 * BERT that names no other) only the vocabulary of {@code tokenizer.json}, or {@code vocab.txt}, and the added tokens count:
 * normalizer, splitting and special tokens around a text come from {@code tokenizer_config.json} and BERT's defaults. For
 * other classes {@code tokenizer.json} counts as it is.
 *
 * @param document   the judged tokenizer
 * @param decoder    what makes text of tokens
 * @param specialIds numbers of the special tokens that the files beside tokenizer.json name, by name: {@code bos_token}
 * @param notes      what a user should know
 */
public record TokenizerFiles(
        TokenizerDocument document, TokenDecoder decoder, Map<String, Integer> specialIds, List<String> notes) {
    private static final String TOKENIZER = "tokenizer.json";
    private static final String VOCABULARY = "vocab.txt";
    private static final String CONFIG = "tokenizer_config.json";
    private static final String BERT = "BertTokenizer";

    /** Models for which transformers makes a BertTokenizer where no class is named. */
    private static final Set<String> BERT_MODELS = Set.of(
            "bert",
            "convbert",
            "distilbert",
            "electra",
            "ernie",
            "layoutlm",
            "megatron-bert",
            "nezha",
            "nomic_bert",
            "qdqbert",
            "squeezebert",
            "visual_bert");

    /** Classes that take tokenizer.json as it is, whatever the config says about normalizing. */
    private static final Set<String> AS_IT_IS = Set.of(
            "PreTrainedTokenizer",
            "TokenizersBackend",
            "PythonBackend",
            "DistilBertTokenizer",
            "ConvBertTokenizer",
            "ElectraTokenizer");

    /** Classes that are written in Python and have no tokenizer.json that says the same. */
    private static final Set<String> PYTHON_ONLY = Set.of(
            "BertJapaneseTokenizer",
            "BertweetTokenizer",
            "BartphoTokenizer",
            "CanineTokenizer",
            "ByT5Tokenizer",
            "PerceiverTokenizer",
            "PhobertTokenizer",
            "RoCBertTokenizer",
            "XLMTokenizer",
            "FlaubertTokenizer",
            "CTRLTokenizer",
            "ProphetNetTokenizer");

    /** Reads the files of a directory. */
    public static TokenizerFiles read(ModelDirectory directory) throws IOException {
        return new Reader(directory).read();
    }

    /** A single {@code tokenizer.json} that counts as it is. */
    public static TokenizerFiles read(Path tokenizerJson) throws IOException {
        TokenizerDocument document =
                TokenizerDocument.of(tokenizerJson, json(tokenizerJson).map());
        return new TokenizerFiles(document, document.decoder(false, false), Map.of(), List.of());
    }

    /** {@code model_max_length} of a directory's tokenizer_config.json, if it says one. */
    public static OptionalInt modelMaxLength(ModelDirectory directory) throws IOException {
        Part config = optional(directory.directory().resolve(CONFIG));
        if (config == null) {
            return OptionalInt.empty();
        }
        return config.find("model_max_length")
                .or(() -> config.find("max_len"))
                .map(TokenizerKeys::length)
                .orElse(OptionalInt.empty());
    }

    /** The texts of the special tokens that a directory's files name, by name: what a chat template is given of them. */
    public static Map<String, String> specialTokens(Path directory) throws IOException {
        return SpecialTokens.read(
                        optional(directory.resolve(CONFIG)),
                        optional(directory.resolve("special_tokens_map.json")),
                        null, // what has no name
                        null)
                .texts();
    }

    private static @Nullable Part optional(Path file) throws IOException {
        return Files.exists(file) ? json(file) : null;
    }

    private static Part json(Path file) throws IOException {
        byte[] bytes = bytes(file);
        try {
            return Part.root(file, Json.readObject(file, bytes));
        } catch (MalformedFileException e) {
            throw foreign(file, bytes).orElse(e);
        }
    }

    private static byte[] bytes(Path file) throws IOException {
        long size = Files.size(file);
        if (size > Json.MAX_BYTES) {
            throw new MalformedFileException(
                    file, -1, "file has " + size + " bytes, at most " + Json.MAX_BYTES + " allowed");
        }
        return Files.readAllBytes(file);
    }

    private static Optional<MalformedFileException> foreign(Path file, byte[] bytes) {
        return Optional.ofNullable(ForeignFormats.describe(Arrays.copyOf(bytes, Math.min(bytes.length, 64))))
                .map(what -> new MalformedFileException(file, 0, what));
    }

    /** Reading one directory. */
    private static final class Reader {
        private final ModelDirectory model;
        private final Path directory;
        private final List<String> notes = new ArrayList<>();
        private final @Nullable Part config;
        private final @Nullable Part tokenizer;
        private final String tokenizerClass;

        Reader(ModelDirectory model) throws IOException {
            this.model = model;
            directory = model.directory();
            config = optional(directory.resolve(CONFIG));
            tokenizer = Files.isRegularFile(directory.resolve(TOKENIZER)) ? json(directory.resolve(TOKENIZER)) : null;
            if (config != null) {
                notes.addAll(TokenizerKeys.check(config));
                modelMaxLength(model); // so that a wrong one is told now
            }
            tokenizerClass = tokenizerClass();
        }

        TokenizerFiles read() throws IOException {
            if (PYTHON_ONLY.contains(tokenizerClass)) {
                throw refused(
                        "tokenizer_class " + tokenizerClass + " is written in Python; there is no other form of it");
            }
            SpecialTokens tokens = SpecialTokens.read(
                    config,
                    optional(directory.resolve("special_tokens_map.json")),
                    optional(directory.resolve("added_tokens.json")),
                    tokenizer);
            TokenizerDocument document = tokenizerClass.equals(BERT)
                    ? bert(tokens)
                    : tokenizer == null ? vocabularyAlone(tokens) : asItIs(tokenizer, tokens);
            return new TokenizerFiles(document, decoder(document), tokens.named(document::id), List.copyOf(notes));
        }

        /** The class that transformers takes, without "Fast". */
        private String tokenizerClass() {
            String named = config == null
                    ? null
                    : config.find("tokenizer_class").map(Part::text).orElse(null);
            if (named == null && model.config().get("tokenizer_class") instanceof String inModel) {
                named = inModel;
            }
            if (named == null) {
                return BERT_MODELS.contains(model.modelType()) ? BERT : "TokenizersBackend";
            }
            return named.endsWith("Fast") ? named.substring(0, named.length() - 4) : named;
        }

        private TokenizerDocument vocabularyAlone(SpecialTokens tokens) throws IOException {
            if (!Set.of("DistilBertTokenizer", "ConvBertTokenizer").contains(tokenizerClass)) {
                throw refused("tokenizer_class " + tokenizerClass + " needs a tokenizer.json");
            }
            return bert(tokens);
        }

        private TokenizerDocument asItIs(Part file, SpecialTokens tokens) {
            TokenizerDocument.Reading reading = new TokenizerDocument.Reading();
            reading.more = tokens.all();
            reading.splitSpecialTokens = splitSpecialTokens();
            reading.cutsLeft = cutsLeft();
            TokenizerDocument document = TokenizerDocument.judge(file, reading);
            if (config != null) {
                new Agreement(config, document).check(AS_IT_IS.contains(tokenizerClass), notes);
            }
            return document;
        }

        /** BERT's tokenizer, of which the files decide only some things. */
        private TokenizerDocument bert(SpecialTokens tokens) throws IOException {
            tokens.orDefault("unk_token", "[UNK]");
            tokens.orDefault("sep_token", "[SEP]");
            tokens.orDefault("pad_token", "[PAD]");
            tokens.orDefault("cls_token", "[CLS]");
            tokens.orDefault("mask_token", "[MASK]");
            Part root = Part.root(source(), bertDocument(tokens));
            Models.Judged judged = Models.judge(root.at("model"));
            Vocabulary vocabulary = judged.vocabulary();
            TextLimit limit = new TextLimit();
            Map<String, @Nullable Object> normalizer = Normalizers.judge(root.at("normalizer"), limit);
            Map<AddedToken, Integer> added =
                    TokenizerDocument.added(root, tokens.all(), tokens.ids(), vocabulary, normalizer);
            Templates templates =
                    Templates.bert(id(vocabulary, tokens, "cls_token"), id(vocabulary, tokens, "sep_token"));
            Boolean side = cutsLeft();
            TokenizerDocument document = new TokenizerDocument(
                    root.file(),
                    judged.json(),
                    normalizer,
                    PreTokenizers.judge(root.at("pre_tokenizer"), limit),
                    splitSpecialTokens() ? TokenizerDocument.withoutSpecial(root, added, vocabulary) : added,
                    vocabulary,
                    templates,
                    List.of(DecodeSteps.wordPiece("##", true)),
                    added,
                    limit,
                    side != null ? side : tokenizer != null && TokenizerDocument.directionLeft(tokenizer));
            if (tokenizer != null) {
                noteDifferences(tokenizer, document);
            }
            return document;
        }

        private static int id(Vocabulary vocabulary, SpecialTokens tokens, String name) {
            return vocabulary.id(tokens.text(name).orElseThrow()).orElseThrow();
        }

        private Path source() {
            return directory.resolve(tokenizer != null ? TOKENIZER : VOCABULARY);
        }

        private Map<String, @Nullable Object> bertDocument(SpecialTokens tokens) throws IOException {
            Map<String, @Nullable Object> document = new LinkedHashMap<>();
            document.put(
                    "model",
                    Components.json(
                            "WordPiece",
                            "unk_token",
                            tokens.text("unk_token").orElseThrow(),
                            "continuing_subword_prefix",
                            "##",
                            "max_input_chars_per_word",
                            100,
                            "vocab",
                            vocabulary()));
            document.put(
                    "normalizer",
                    Components.json(
                            "BertNormalizer",
                            "clean_text",
                            true,
                            "handle_chinese_chars",
                            setting("tokenize_chinese_chars", true),
                            "strip_accents",
                            setting("strip_accents", null),
                            "lowercase",
                            setting("do_lower_case", true)));
            document.put("pre_tokenizer", Components.json("BertPreTokenizer"));
            return document;
        }

        private @Nullable Object vocabulary() throws IOException {
            if (tokenizer != null) {
                TokenizerDocument.checkTop(tokenizer);
                String type = Models.type(tokenizer.at("model"));
                if (!type.equals("WordPiece")) {
                    throw tokenizer.bad(
                            "model is " + type + ", but " + BERT + " has WordPiece; if the file is right as it"
                                    + " is, write \"tokenizer_class\": \"PreTrainedTokenizerFast\" into " + CONFIG);
                }
                return tokenizer.at("model").at("vocab").value();
            }
            Path file = directory.resolve(VOCABULARY);
            if (!Files.isRegularFile(file)) {
                throw new MalformedFileException(
                        directory,
                        -1,
                        "model directory has neither " + TOKENIZER + " nor " + VOCABULARY
                                + "; for a model that has only"
                                + " other files (tokenizer.model), write tokenizer.json once in Python:"
                                + " AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)");
            }
            byte[] bytes = bytes(file);
            Optional<MalformedFileException> foreign = foreign(file, bytes);
            if (foreign.isPresent()) {
                throw foreign.get();
            }
            return VocabFile.read(file, bytes, notes);
        }

        private @Nullable Object setting(String key, @Nullable Object absent) {
            return config == null || !config.map().containsKey(key)
                    ? absent
                    : config.at(key).value() == null ? absent : config.at(key).bool();
        }

        private TokenDecoder decoder(TokenizerDocument document) {
            String cleanUp = "clean_up_tokenization_spaces";
            return document.decoder(
                    config != null && config.bool(cleanUp, false),
                    config != null && config.bool(cleanUp + "_for_bpe_even_though_it_will_corrupt_output", false));
        }

        private boolean splitSpecialTokens() {
            return config != null && config.bool("split_special_tokens", false);
        }

        private @Nullable Boolean cutsLeft() {
            return config == null
                    ? null
                    : config.find("truncation_side")
                            .map(side -> side.oneOf("left", "right").equals("left"))
                            .orElse(null);
        }

        /** Tells where tokenizer.json says something else than what counts, and refuses it where it says nonsense. */
        private void noteDifferences(Part file, TokenizerDocument counts) {
            TokenizerDocument said = TokenizerDocument.judge(file, new TokenizerDocument.Reading());
            if (!Objects.equals(said.normalizer(), counts.normalizer())) {
                notes.add(TOKENIZER + ": its normalizer does not count for a " + BERT + "; " + CONFIG
                        + " and BERT's defaults give " + counts.normalizer());
            }
            if (!Objects.equals(said.preTokenizer(), counts.preTokenizer())) {
                notes.add(TOKENIZER + ": its pre_tokenizer does not count for a " + BERT);
            }
            if (!Arrays.equals(said.around(new int[0]), counts.around(new int[0]))) {
                notes.add(TOKENIZER + ": its post_processor does not count for a " + BERT);
            }
        }

        private MalformedFileException refused(String reason) {
            return new MalformedFileException(
                    config != null ? config.file() : directory,
                    -1,
                    reason + "; write one in Python: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)");
        }
    }
}
