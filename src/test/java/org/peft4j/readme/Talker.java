package org.peft4j.readme;

import java.io.IOException;
import java.nio.file.Path;
import org.peft4j.BaseModel;
import org.peft4j.Chat;
import org.peft4j.LoadedAdapter;
import org.peft4j.TextGenerator;

/** The README's talk; {@link ReadmeTest} compares the text and runs it. */
final class Talker {
    private Talker() {}

    static void run(Path model, Path adapter) throws IOException {
        // README begins
        try (BaseModel base = BaseModel.open(model)) {
            LoadedAdapter lily = base.load("lily", adapter);
            Chat chat = Chat.of(lily);
            TextGenerator.Options options = TextGenerator.Options.defaults().withMaxNewTokens(60);
            chat.say("What does the cat say?", options, piece -> System.out.print(piece));
            chat.say("And the dog?", options, piece -> System.out.print(piece));
            System.out.println(chat.messages());
        }
        // README ends
    }
}
