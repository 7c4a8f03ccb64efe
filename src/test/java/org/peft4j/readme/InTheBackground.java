package org.peft4j.readme;

import java.io.IOException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.peft4j.Trainer;
import org.peft4j.TrainingHandle;
import org.peft4j.config.RunConfig;
import org.peft4j.run.RunResult;

/** The README's run in the background; {@link ReadmeTest} compares the text and runs it. */
final class InTheBackground {
    private InTheBackground() {}

    static RunResult.Status run(RunConfig config) throws IOException {
        // README begins
        ExecutorService executor = Executors.newSingleThreadExecutor();
        TrainingHandle run = Trainer.start(config, executor);
        run.stop(); // after the current step, with the adapter saved; does not wait
        RunResult result = run.join(); // waits
        executor.shutdown();
        // README ends
        return result.status();
    }
}
