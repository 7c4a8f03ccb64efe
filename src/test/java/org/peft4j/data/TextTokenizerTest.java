package org.peft4j.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import ai.djl.util.Utils;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;

/** The tokenizer.json of the tests cuts at 4 and pads to 6 by itself; [CLS] is 2, [SEP] is 3. */
class TextTokenizerTest {
    static final Path TOKENIZER = Path.of("src/test/resources/data/tokenizer.json");

    @TempDir
    Path temporary;

    @Test
    void anotherLimitSharesWhatIsOpened() throws Exception {
        TextTokenizer opened = TextTokenizer.open(TOKENIZER, 16);
        TextTokenizer shorter = opened.withMaxLength(5);
        assertThat(shorter.maxLength()).isEqualTo(5);
        String text = "hello world, hello world, hello world";
        try (TextTokenizer alone = TextTokenizer.open(TOKENIZER, 5)) {
            assertThat(shorter.encodeWithCut(text)).isEqualTo(alone.encodeWithCut(text));
        }
        assertThatThrownBy(() -> opened.withMaxLength(2)).isInstanceOf(ConfigException.class);
        shorter.close();
        assertThat(opened.encode(text).length).isGreaterThan(5);
        opened.close();
        assertThatThrownBy(() -> shorter.encode(text))
                .isInstanceOf(IllegalStateException.class)
                .hasMessage("this tokenizer is closed");
    }

    @Test
    void addsSpecialTokensAndNeverPads() throws IOException {
        try (TextTokenizer tokenizer = TextTokenizer.open(TOKENIZER, 16)) {
            assertThat(tokenizer.encode("The quick fox jumps!")).containsExactly(2, 5, 6, 7, 8, 9, 15, 3);
            assertThat(tokenizer.encode("")).containsExactly(2, 3);
            assertThat(tokenizer.encode("É 日 unknown")).containsExactly(2, 1, 25, 1, 3);
        }
    }

    @Test
    void cutsToMaxLengthKeepingTheClosingToken() throws IOException {
        try (TextTokenizer tokenizer = TextTokenizer.open(TOKENIZER, 5)) {
            TextTokenizer.Tokens cut = tokenizer.encodeWithCut("the quick fox jumps");
            assertThat(cut.tokens()).containsExactly(2, 5, 6, 7, 3);
            assertThat(cut.cut()).isTrue();
        }
    }

    @Test
    void textThatJustFitsIsNotCut() throws IOException {
        try (TextTokenizer tokenizer = TextTokenizer.open(TOKENIZER, 5)) {
            TextTokenizer.Tokens fits = tokenizer.encodeWithCut("the quick fox");
            assertThat(fits.tokens()).containsExactly(2, 5, 6, 7, 3);
            assertThat(fits.cut()).isFalse();
        }
    }

    @Test
    void limitsAboveFiveHundredAndTwelveHold() throws IOException {
        try (TextTokenizer tokenizer = TextTokenizer.open(TOKENIZER, 1000)) {
            TextTokenizer.Tokens tokens = tokenizer.encodeWithCut("the ".repeat(2000));
            assertThat(tokens.tokens()).hasSize(1000);
            assertThat(tokens.cut()).isTrue();
        }
    }

    @Test
    void manyTextsGiveTheSameAsOneByOne() throws IOException {
        List<String> texts = List.of("the quick fox jumps over a lazy dog", "win money now!", "", "日 É");
        try (TextTokenizer tokenizer = TextTokenizer.open(TOKENIZER, 6)) {
            List<TextTokenizer.Tokens> together = tokenizer.encode(texts);
            assertThat(together)
                    .isEqualTo(texts.stream().map(tokenizer::encodeWithCut).toList());
            assertThat(together.get(0).cut()).isTrue();
            assertThat(together.get(1).cut()).isFalse();
            assertThat(tokenizer.encode(List.of())).isEmpty();
        }
    }

    @Test
    void limitThatLeavesNoRoomForTextIsRefused() {
        assertThatThrownBy(() -> TextTokenizer.open(TOKENIZER, 2))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("max_length must be more than the 2 special tokens");
        assertThatThrownBy(() -> TextTokenizer.open(TOKENIZER, 0)).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void missingOrBrokenFileIsAnError() throws IOException {
        assertThatThrownBy(() -> TextTokenizer.open(temporary.resolve("tokenizer.json"), 8))
                .isInstanceOf(NoSuchFileException.class)
                .hasMessageContaining("no tokenizer");
        for (String content : List.of("", "{}", "[1]", "{\"model\": {\"type\": \"Nonsense\"}}")) {
            Path file = Files.writeString(temporary.resolve("broken.json"), content);
            assertThatThrownBy(() -> TextTokenizer.open(file, 8))
                    .as(content)
                    .isInstanceOf(MalformedFileException.class)
                    .hasMessageContaining("broken.json: ");
        }
    }

    @Test
    void libraryIsToldToStayOffTheNetwork() throws IOException {
        try (TextTokenizer tokenizer = TextTokenizer.open(TOKENIZER, 8)) {
            assertThat(tokenizer.encode("the")).hasSize(3);
        }
        assertThat(Utils.isOfflineMode())
                .as("what the library asks before downloads and reports")
                .isTrue();
        assertThat(Utils.getEnvOrSystemProperty("OPT_OUT_TRACKING")).isEqualTo("true");
    }

    /** Eight threads and 200 closes: the library frees its tokenizer at once, whoever uses it. */
    @Test
    void closeWaitsForCallsAndLaterOnesAreRefused() throws Exception {
        List<String> texts = List.of("the quick fox jumps over a lazy dog ".repeat(20), "win money now!", "", "É 日");
        ExecutorService threads = Executors.newFixedThreadPool(8);
        try {
            for (int round = 0; round < 200; round++) {
                TextTokenizer tokenizer = TextTokenizer.open(TOKENIZER, 16);
                List<TextTokenizer.Tokens> expected = tokenizer.encode(texts);
                CountDownLatch started = new CountDownLatch(8);
                List<Future<Long>> calls = new ArrayList<>();
                for (int i = 0; i < 8; i++) {
                    calls.add(threads.submit(() -> {
                        started.countDown();
                        for (long count = 0; ; count++) {
                            try {
                                assertThat(tokenizer.encode(texts)).isEqualTo(expected);
                            } catch (IllegalStateException e) {
                                assertThat(e).hasMessage("this tokenizer is closed");
                                return count;
                            }
                        }
                    }));
                }
                started.await();
                Thread.sleep(round % 4);
                tokenizer.close();
                tokenizer.close();
                for (Future<Long> call : calls) {
                    assertThat(call.get(60, TimeUnit.SECONDS)).isNotNegative();
                }
            }
        } finally {
            threads.shutdownNow();
        }
    }
}
