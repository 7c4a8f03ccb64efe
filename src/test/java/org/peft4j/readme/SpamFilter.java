package org.peft4j.readme;

import java.io.IOException;
import java.nio.file.Path;
import org.peft4j.TextClassifier;
import org.peft4j.Trainer;
import org.peft4j.config.DataConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.run.RunResult;

/** The program of the README; {@link ReadmeTest} compares the text and runs it. */
final class SpamFilter {
    private SpamFilter() {}

    static String run(Path model, Path mails, Path output) throws IOException {
        // README begins
        RunConfig config = RunConfig.builder()
                .model(model)
                .data(new DataConfig(mails.resolve("train.jsonl"), mails.resolve("validation.jsonl")))
                .method(LoraConfig.builder()
                        .r(8)
                        .alpha(16)
                        .targets("query", "value")
                        .build())
                .output(output)
                .build();
        RunResult result = Trainer.train(config);
        System.out.printf("%d steps, %.0f tokens/s%n", result.steps(), result.tokensPerSecond());

        try (TextClassifier filter = TextClassifier.open(model, output)) {
            System.out.println(filter.evaluate(mails.resolve("test.jsonl")).accuracy());
            return filter.predict("You have won 1,000,000 dollars! Reply now.").label();
        }
        // README ends
    }
}
