package org.peft4j.readme;

import java.nio.file.Path;
import java.util.Map;
import org.peft4j.BaseModel;
import org.peft4j.Composition;
import org.peft4j.LoadedAdapter;
import org.peft4j.TextClassifier;

/** The README's adapters that act together; {@link ReadmeTest} compares the text and runs it. */
final class Together {
    private Together() {}

    static void run(Path model, Path runs) throws Exception {
        // README begins
        try (BaseModel base = BaseModel.open(model)) {
            Map<String, LoadedAdapter> adapters = Map.of(
                    "lang", base.load("lang", runs.resolve("lang")),
                    "task", base.load("task", runs.resolve("task")));

            LoadedAdapter stack = base.compose("mails", Composition.parse("Stack(lang, task)"), adapters);
            System.out.println(
                    TextClassifier.of(stack).predict("Dinner at eight?").label());
        }
        // README ends
    }
}
