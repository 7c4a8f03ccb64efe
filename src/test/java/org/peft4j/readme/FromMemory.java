package org.peft4j.readme;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Stream;
import org.peft4j.BaseModel;
import org.peft4j.TextClassifier;
import org.peft4j.Trainer;
import org.peft4j.config.RunConfig;
import org.peft4j.method.lora.LoraConfig;

/** The README's rows from memory; {@link ReadmeTest} compares the text and runs it. */
final class FromMemory {
    private FromMemory() {}

    static void run(Path model, Stream<Map<String, String>> mails, Stream<Map<String, String>> others, Path output)
            throws IOException {
        // README begins
        try (BaseModel base = BaseModel.open(model)) {
            RunConfig config = RunConfig.builder()
                    .model(model)
                    .method(LoraConfig.builder().targets("query", "value").build())
                    .output(output)
                    .build();
            Trainer.of(config).on(base).rows(mails).train(); // each row a map: text, label

            TextClassifier filter = TextClassifier.of(base.load("spam", output));
            System.out.println(filter.evaluate(others).accuracy());

            Stream<Map<String, String>> inbox = Stream.of(
                    Map.of("text", "Dinner at eight?"), Map.of("text", "You have won 1,000,000 dollars! Reply now."));
            filter.predict(
                    inbox,
                    (mail, said) ->
                            System.out.println(said.label() + " " + said.probabilities() + " " + mail.get("text")));
        }
        // README ends
    }
}
