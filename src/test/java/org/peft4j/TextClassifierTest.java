package org.peft4j;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.error.ConfigException;
import org.peft4j.error.TrainingException;
import org.peft4j.io.safetensors.SafeTensors;
import org.peft4j.io.safetensors.TensorData;

class TextClassifierTest {
    private static final Path ADAPTER = Fixtures.ADAPTERS.resolve("lora-query-value");

    @TempDir
    Path temporary;

    /** The tiny model with another value in one of its tensors. */
    private Path model(String tensor, float value) throws IOException {
        Path copy = Files.createDirectories(temporary.resolve("model"));
        for (String name : List.of("config.json", "tokenizer.json")) {
            Files.copy(Fixtures.TINY_BERT.resolve(name), copy.resolve(name));
        }
        List<TensorData> tensors = new ArrayList<>();
        for (TensorData data : SafeTensors.read(Fixtures.TINY_BERT.resolve("model.safetensors"))
                .values()) {
            ByteBuffer bytes = ByteBuffer.allocate(data.bytes().remaining()).order(ByteOrder.LITTLE_ENDIAN);
            bytes.put(data.bytes()).flip();
            if (data.name().equals(tensor)) {
                bytes.putFloat(0, value);
            }
            tensors.add(new TensorData(data.name(), data.dtype(), data.shape(), bytes));
        }
        SafeTensors.write(copy.resolve("model.safetensors"), Map.of("format", "pt"), tensors);
        return copy;
    }

    @Test
    void closingWaitsForCallsAndLaterOnesAreRefused() throws Exception {
        AtomicLong answered = new AtomicLong();
        ExecutorService threads = Executors.newFixedThreadPool(8);
        try {
            for (int round = 0; round < 200; round++) {
                TextClassifier classifier = TextClassifier.open(Fixtures.TINY_BERT, ADAPTER);
                List<TextClassifier.Prediction> right = classifier.predict(List.of("win money now"));
                List<Future<?>> calls = new ArrayList<>();
                for (int t = 0; t < 8; t++) {
                    calls.add(threads.submit(() -> {
                        while (true) {
                            assertThat(classifier.predict(List.of("win money now")))
                                    .isEqualTo(right);
                            answered.incrementAndGet();
                        }
                    }));
                }
                Thread.sleep(round % 4);
                classifier.close();
                classifier.close();
                for (Future<?> call : calls) {
                    assertThatThrownBy(call::get)
                            .isInstanceOf(ExecutionException.class)
                            .hasRootCauseInstanceOf(IllegalStateException.class)
                            .hasMessageContaining("is closed");
                }
            }
        } finally {
            threads.shutdownNow();
        }
        assertThat(answered).hasPositiveValue();
    }

    @Test
    void classifierCannotBeClosedByTheCallThatUsesIt() throws IOException {
        Path data = Files.writeString(temporary.resolve("rows.jsonl"), "{\"text\": \"a\"}\n");
        try (TextClassifier classifier = TextClassifier.open(Fixtures.TINY_BERT, ADAPTER)) {
            assertThatThrownBy(() -> classifier.predict(data, (row, prediction) -> classifier.close()))
                    .isInstanceOf(IllegalStateException.class);
            assertThat(classifier.predict("a").logits()).hasSize(2);
        }
    }

    @Test
    void outputsThatAreNotFiniteNameTheRow() throws IOException {
        Path model = model("classifier.bias", Float.POSITIVE_INFINITY);
        Path data = Files.writeString(
                temporary.resolve("rows.jsonl"),
                "{\"text\": \"a\", \"label\": \"ham\"}\n{\"text\": \"b\", \"label\": \"ham\"}\n");
        try (TextClassifier classifier = TextClassifier.open(model, null, TextClassifier.Options.defaults())) {
            assertThatThrownBy(() -> classifier.predict(List.of("a", "b")))
                    .isInstanceOf(TrainingException.class)
                    .hasMessageContainingAll("text 1 of 2", "not finite", "Infinity");
            assertThatThrownBy(() -> classifier.evaluate(data))
                    .isInstanceOf(TrainingException.class)
                    .hasMessageContaining("rows.jsonl, line 1");
            assertThatThrownBy(() -> classifier.predict(data, (row, prediction) -> {}))
                    .isInstanceOf(TrainingException.class)
                    .hasMessageContaining("rows.jsonl, line 1");
        }
    }

    @Test
    void textsAreReadAsFarAsTheModelGoesAndSaySoIfTheyAreLonger() throws IOException {
        try (TextClassifier classifier = TextClassifier.open(Fixtures.TINY_BERT, ADAPTER)) {
            assertThat(classifier.maxLength()).isEqualTo(64);
            assertThat(classifier.predict(List.of("email", "email ".repeat(62), "email ".repeat(63))))
                    .extracting(TextClassifier.Prediction::cut)
                    .containsExactly(false, false, true);
        }
        assertThatThrownBy(() -> TextClassifier.open(
                        Fixtures.TINY_BERT,
                        ADAPTER,
                        TextClassifier.Options.defaults().withMaxLength(65)))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("at most 64");
    }
}
