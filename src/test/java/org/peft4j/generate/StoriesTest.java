package org.peft4j.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.peft4j.Fixtures;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.GenerationDefaults;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelOptions;

/** The trained model among the examples. */
class StoriesTest {
    private static final Path STORIES = Path.of("src/examples/data/stories260k");

    /** As its authors published it, and as transformers gives it. */
    private static final String STORY = """
            Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. She wanted to play with it, but it was too high.
            Lily's mom said, "Lily, let's go to the park." Lily was sad and didn't know what to do. She said, "I want to play with your ball, but I can't find it."
            Lily was sad and didn't know what to do. She said, "I'm sorry, Lily. I didn't know what to do."
            Lily didn't want to help her mom, so she said, "I'm sorry, mom. I didn't know what to do." Her mom said, "Don't worry, Lily. We can help you.""";

    @TempDir
    Path dir;

    /** The tokens' texts, without their decoder's first blank. */
    private static String text(Map<Integer, String> pieces, int[] ids) {
        StringBuilder text = new StringBuilder();
        for (int id : ids) {
            text.append(pieces.get(id).equals("<0x0A>") ? "\n" : pieces.get(id).replace('▁', ' '));
        }
        return text.substring(1);
    }

    private static Map<Integer, String> pieces() throws Exception {
        Map<?, ?> model =
                (Map<?, ?>) Json.readObject(STORIES.resolve("tokenizer.json")).get("model");
        Map<Integer, String> pieces = new HashMap<>();
        ((Map<?, ?>) model.get("vocab")).forEach((piece, id) -> pieces.put(((Number) id).intValue(), (String) piece));
        return pieces;
    }

    @Test
    void thePublishedStoryComesOutWordForWord() throws Exception {
        Map<Integer, String> pieces = pieces();
        ModelDirectory directory = ModelDirectory.open(STORIES);
        GenerationSettings settings = new GenerationSettings(
                256,
                Sampling.GREEDY,
                List.of(),
                GenerationDefaults.read(directory).endTokens());
        try (HeadedModel model =
                HeadedModel.open(directory, ModelOptions.defaults(), HeadKind.LANGUAGE, HeadOptions.of(0))) {
            Generated story = new Generator(model.model(), (LanguageHead) model.head())
                    .generate(
                            List.of(new Prompt(new int[] {1}, null, 0)),
                            settings,
                            (prompt, ids) -> text(pieces, ids),
                            GenerationListener.NONE)
                    .get(0);
            assertThat(story.text()).isEqualTo(STORY);
        }
    }

    @Test
    void endTokensComeFromGenerationConfigThenFromConfig() throws Exception {
        assertThat(defaults("{\"eos_token_id\": [7, 9], \"temperature\": 0.6, \"top_k\": 20, \"top_p\": 1.0}"))
                .isEqualTo(new GenerationDefaults(List.of(7, 9)));
        assertThat(defaults("{\"eos_token_id\": 5}")).isEqualTo(new GenerationDefaults(List.of(5)));
        assertThat(defaults("{\"bos_token_id\": 1}").endTokens()).containsExactly(2);
        assertThat(defaults(null).endTokens()).containsExactly(2);
        assertThatThrownBy(() -> defaults("{\"eos_token_id\": \"</s>\"}"))
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining(
                        "generation_config.json: eos_token_id must be a token's number or a list of them");
    }

    private GenerationDefaults defaults(String generation) throws Exception {
        for (String name : List.of("config.json", "model.safetensors")) {
            Files.write(dir.resolve(name), Files.readAllBytes(Fixtures.TINY_LLAMA.resolve(name)));
        }
        if (generation == null) {
            Files.deleteIfExists(dir.resolve("generation_config.json"));
        } else {
            Files.writeString(dir.resolve("generation_config.json"), generation);
        }
        return GenerationDefaults.read(ModelDirectory.open(dir));
    }
}
