package org.peft4j.readme;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.peft4j.BaseModel;
import org.peft4j.LoadedAdapter;
import org.peft4j.TextClassifier;

/** The README's server of many adapters; {@link ReadmeTest} compares the text and runs it. */
final class ManyAdapters {
    private ManyAdapters() {}

    static List<String> run(Path model, Path runs, List<String> mails) throws Exception {
        List<String> said = new ArrayList<>();
        // README begins
        try (BaseModel base = BaseModel.open(model)) { // in memory once
            List<LoadedAdapter> adapters = List.of(
                    base.load("anna", runs.resolve("anna")),
                    base.load("ben", runs.resolve("ben")),
                    base.load("clara", runs.resolve("clara")));

            ExecutorService threads = Executors.newFixedThreadPool(8);
            List<Future<String>> answers = new ArrayList<>();
            for (int i = 0; i < mails.size(); i++) {
                TextClassifier filter = TextClassifier.of(adapters.get(i % 3)); // costs nothing
                String mail = mails.get(i);
                answers.add(threads.submit(() -> filter.predict(mail).label()));
            }
            for (Future<String> answer : answers) {
                said.add(answer.get());
            }
            threads.shutdown();

            // or in one pass over the model, each text with an adapter of its own
            List<TextClassifier.Prediction> all = TextClassifier.predict(mails.subList(0, 3), adapters);
            all.forEach(prediction -> said.add(prediction.label()));
        }
        // README ends
        return said;
    }
}
