package org.peft4j.readme;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.peft4j.BaseModel;
import org.peft4j.Composition;
import org.peft4j.LoadedAdapter;
import org.peft4j.RowComposition;
import org.peft4j.TextClassifier;

/** The page on composing adapters: their mean, and their branches; {@link ReadmeTest} compares the text and runs it. */
final class Apart {
    private Apart() {}

    static void run(Path model, Path runs) throws Exception {
        // README begins
        try (BaseModel base = BaseModel.open(model)) {
            Map<String, LoadedAdapter> adapters = Map.of(
                    "lang", base.load("lang", runs.resolve("lang")),
                    "task", base.load("task", runs.resolve("task")));

            Composition mean = Composition.parse("Average(lang, task; 0.3, 0.7)");
            LoadedAdapter average = base.compose("mean", mean, adapters, "task"); // with the head of this one
            System.out.println(
                    TextClassifier.of(average).predict("Dinner at eight?").label());

            RowComposition both = base.composeRows("both", Composition.parallel("lang", "task"), adapters);
            var answers = both.answer(List.of(Map.of("text", "Dinner at eight?"), Map.of("text", "You have won!")));
            System.out.println(answers.get(1).get(0).get("label")); // of the second branch, the first row's
        }
        // README ends
    }
}
