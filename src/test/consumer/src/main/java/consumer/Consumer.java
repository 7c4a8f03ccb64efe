package consumer;

import java.nio.file.Path;
import org.peft4j.method.lora.LoraConfig;
import org.peft4j.config.DataConfig;
import org.peft4j.config.RunConfig;
import org.peft4j.config.SequenceClassificationConfig;
import org.peft4j.TextClassifier;
import org.peft4j.Trainer;
import org.peft4j.config.TrainingConfig;

/** Trains an adapter and uses it, with what a user's own pom.xml brings: MODEL ROWS OUTPUT. */
public final class Consumer {
    private Consumer() {}

    public static void main(String[] args) throws Exception {
        Path model = Path.of(args[0]), rows = Path.of(args[1]), output = Path.of(args[2]);
        RunConfig config = RunConfig.builder()
                .model(model)
                .task(SequenceClassificationConfig.builder().maxLength(32).build())
                .data(new DataConfig(rows, null))
                .method(LoraConfig.builder().r(4).alpha(8).targets("query", "value").build())
                .training(TrainingConfig.builder().maxSteps(2).build())
                .output(output)
                .build();
        System.out.println("steps " + Trainer.train(config).steps());
        try (TextClassifier classifier = TextClassifier.open(model, output)) {
            System.out.println("labels " + classifier.labels());
            System.out.println("known " + classifier.labels().contains(classifier.predict("You have won!").label()));
        }
    }
}
