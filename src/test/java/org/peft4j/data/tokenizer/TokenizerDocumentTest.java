package org.peft4j.data.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.data.TextTokenizer;
import org.peft4j.error.MalformedFileException;

/** Files that the library must not get: it ends the process on some of them. */
class TokenizerDocumentTest {
    @TempDir
    Path directory;

    /** The file with one text in it replaced; ¦ stands for a comma, which the table uses. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "wordpiece | 'decoder':{'type':'WordPiece'      | 'decoder':{'type':3            | decoder.type must be a text, got 3",
                "wordpiece | 'cleanup':true                     | 'cleanup':'x'                  | decoder.cleanup must be true or false",
                "wordpiece | 'type':'WordPiece','prefix'        | 'type':'Unknown','prefix'      | decoder.type must be one of [ByteLevel",
                "wordpiece | '[CLS]':{'id':'[CLS]'              | '[CLX]':{'id':'[CLX]'          | '[CLS]', which special_tokens lacks",
                "wordpiece | '[UNK]':1,                         | '[UNX]':1,                     | which model.vocab lacks",
                "wordpiece | '[SEP]':3,                         | '[SEP]':2147483648,            | must be a whole number from 0 to 2147483646",
                "wordpiece | '[SEP]':3,                         | '[SEP]':-1,                    | must be a whole number from 0 to 2147483646",
                "wordpiece | '[SEP]':3,                         | '[SEP]':2,                     | must have a number of its own, 2 is another token's",
                "wordpiece | 'ids':[3]                          | 'ids':[4]                      | the vocabulary says 3",
                "wordpiece | 'type':'BertNormalizer'            | 'type':'BertNormaliser'        | normalizer.type must be one of",
                "wordpiece | 'clean_text':true                  | 'clean_txt':true               | did you mean 'clean_text'?",
                "wordpiece | 'model':{'type':'WordPiece'        | 'model':{'type':'Word'         | model.type must be one of [WordPiece",
                "wordpiece | {'id':4,'content':'[MASK]'         | {'id':5,'content':'[MASK]'     | has number 5, but its place in the vocabulary gives it 4",
                "wordpiece | {'id':4,'content':'[MASK]'         | {'id':4,'content':'[CLS]'      | '[CLS]' is listed twice",
                "wordpiece | 'content':'[MASK]'                 | 'content':'\\ud800'            | half a character",
                "wordpiece | 'version':'1.0'                    | 'version':'2.0'                | version must be one of [1.0]",
                "bpe       | 'dropout':null                     | 'dropout':0.1                  | model.dropout must be null or 0",
                "bpe       | 'continuing_subword_prefix':null   | 'continuing_subword_prefix':'##' | must begin with continuing_subword_prefix",
                "bpe       | ['<s>',0]                          | ['<s>',7]                      | the vocabulary says 0",
                "bpe       | ['</s>',2]                         | ['<z>',2]                      | '<z>', which the vocabulary lacks",
                "unigram   | 'unk_id':3                         | 'unk_id':99999                 | model.unk_id must be a whole number from 0",
                "unigram   | 'unk_id':3                         | 'unk_id':null                  | model.unk_id must be a whole number from 0",
                "unigram   | 'replacement':'▁'                  | 'replacement':''               | must be one character",
                "unigram   | 'Regex':' {2,}'                    | 'Regex':'('                    | a group that is not closed",
                "metaspace | 'content':'▁'                      | 'content':'▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁' | ok",
                "wordlevel | 'individual_digits':true           | 'individual_digits':7          | must be true or false, got 7",
            })
    void badFileIsRefusedAtOpen(String base, String what, String by, String message) throws IOException {
        String json = Files.readString(TinyModel.FIXTURES.resolve(base.strip() + ".json"));
        String from = what.strip().replace('\'', '"');
        assertThat(json).contains(from);
        Path file = Files.writeString(
                directory.resolve("tokenizer.json"),
                json.replace(from, by.strip().replace('\'', '"')));
        if (message.strip().equals("ok")) {
            TextTokenizer.open(file, 16).close();
            return;
        }
        assertThatThrownBy(() -> TextTokenizer.open(file, 16))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContainingAll("tokenizer.json: ", message.strip());
    }

    @Test
    void componentsInComponentsEndSomewhere() throws IOException {
        String sequence = "{\"type\":\"Sequence\",\"normalizers\":[".repeat(60) + "]}".repeat(60);
        Path file = write(sequence);
        assertThatThrownBy(() -> TextTokenizer.open(file, 16))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("more than 8 other components");
    }

    /** The library looks for an empty token at every byte, and ends the process inside a character. */
    @ParameterizedTest
    @CsvSource({
        "新词, true",
        "слово, true",
        "[X], true",
        "é, true",
        "ｶﾞ, true",
        "\\u0301, false",
        "' ', false",
        "\\u200b, false",
        "\\u00a8, false",
        "\\u037a, false"
    })
    void addedTokenOfWhichNothingMayBeLeftIsRefused(String token, boolean taken) throws IOException {
        String content = token.startsWith("\\u") ? Character.toString(Integer.parseInt(token.substring(2), 16)) : token;
        Path file = write(
                "{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true,\"lowercase\":true}");
        Files.writeString(
                file,
                Files.readString(file)
                        .replaceFirst(
                                "\\{",
                                "{\"added_tokens\":[{\"id\":1,\"content\":\"" + content
                                        + "\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":true,"
                                        + "\"special\":false}],"));
        if (taken) {
            try (TextTokenizer tokenizer = TextTokenizer.open(file, 16)) {
                assertThat(tokenizer.encode("日" + content + "é")).contains(1);
            }
        } else {
            assertThatThrownBy(() -> TextTokenizer.open(file, 16))
                    .isInstanceOf(MalformedFileException.class)
                    .hasMessageContaining("the normalizer may leave nothing of it");
        }
    }

    @Test
    void normalizerThatMakesTooMuchOfATextIsRefused() throws IOException {
        String grow = "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"" + "a".repeat(50) + "\"}";
        Path file = write("{\"type\":\"Sequence\",\"normalizers\":[" + grow + "," + grow + "]}");
        assertThatThrownBy(() -> TextTokenizer.open(file, 16))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("more than 1000 characters of one");
    }

    private Path write(String normalizer) throws IOException {
        return Files.writeString(
                directory.resolve("tokenizer.json"),
                "{\"normalizer\":" + normalizer
                        + ",\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"u\",\"vocab\":{\"u\":0}}}");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
                "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
                "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re)?|\\p{N}{1,3}",
                " ?[^(\\s|[.,!?…。，、।۔،])]+",
                "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
                "[一-龥぀-ゟ゠-ヿ]+",
                "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+",
                " {2,}",
                "\\d++x?",
                "(?<=a)b$",
            })
    void expressionsOfRealTokenizersAreTaken(String expression) throws IOException {
        assertThatCode(() -> RegularExpression.judge(new Part(directory, "pattern.Regex", expression)))
                .doesNotThrowAnyException();
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "a*",
                "a*b*",
                "(",
                ")",
                "[",
                "[]",
                "[^]",
                "a**",
                "a{2}{3}",
                "(a+)+",
                "(a|b)*c",
                "\\1",
                "(?<n>a)",
                "\\p{Nope}",
                "[z-a]",
                "[[:alpha:]]",
                "a{3,2}",
                "a{1000}",
                "a{",
                "\\",
                "*a",
                "(?P<n>a)",
                "(?<=a+)b",
                "[a&&b]",
                "\\q",
                ".*.*=.*x",
                "a?",
                "^",
                "(?=a)",
                "\\bx|",
                "(((((((((a)))))))))",
                "(?#x)",
                "[a-\\d]",
                "\\x41",
                "$*"
            })
    void otherExpressionsAreRefused(String expression) {
        assertThatThrownBy(() -> RegularExpression.judge(new Part(directory, "pattern.Regex", expression)))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(expression);
    }
}
