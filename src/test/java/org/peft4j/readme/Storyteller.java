package org.peft4j.readme;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.peft4j.TextGenerator;

/** The README's generation; {@link ReadmeTest} compares the text and runs it. */
final class Storyteller {
    private Storyteller() {}

    static void run(Path model, Path adapter) throws IOException {
        // README begins
        try (TextGenerator generator = TextGenerator.open(model, adapter)) {
            TextGenerator.Options options = TextGenerator.Options.defaults()
                    .withMaxNewTokens(60)
                    .withTemperature(0.8)
                    .withSeed(1);
            generator.generate(List.of("KING:\n"), options, (prompt, piece) -> System.out.print(piece));

            TextGenerator.Options best =
                    TextGenerator.Options.defaults().withBeams(4).withN(2).withLogProbs(true);
            for (TextGenerator.Continuation answer :
                    generator.answers(List.of("KING:\n"), best).get(0)) {
                System.out.println(answer.logProbs().size() + " tokens:" + answer.text());
            }
        }
        // README ends
    }
}
