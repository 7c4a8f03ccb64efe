package org.peft4j.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.data.Offset.offset;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.Fixtures;
import org.peft4j.error.ConfigException;
import org.peft4j.io.Json;
import org.peft4j.io.ModelDirectory;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.LanguageHead;
import org.peft4j.model.ModelOptions;

/** Searches that transformers made, too: build-scripts/fixtures/generation.py. */
class BeamsTest {
    private static HeadedModel open(String family) throws Exception {
        return HeadedModel.open(
                ModelDirectory.open(Fixtures.ROOT.resolve("decoders").resolve(family)),
                ModelOptions.defaults(),
                HeadKind.LANGUAGE,
                HeadOptions.of(0));
    }

    private static int[] ints(Object list) {
        return ((List<?>) list)
                .stream().mapToInt(value -> ((Number) value).intValue()).toArray();
    }

    private static double number(Map<?, ?> settings, String key, double otherwise) {
        return settings.get(key) instanceof Number number ? number.doubleValue() : otherwise;
    }

    private static GenerationSettings settings(Map<?, ?> row, int maxNewTokens) {
        Map<?, ?> of = (Map<?, ?>) row.get("settings");
        Object early = of.get("early_stopping");
        BeamSearch.EarlyStopping stopping = "never".equals(early)
                ? BeamSearch.EarlyStopping.NEVER
                : Boolean.TRUE.equals(early) ? BeamSearch.EarlyStopping.YES : BeamSearch.EarlyStopping.NO;
        return new GenerationSettings(
                maxNewTokens,
                new Sampling(0, 0, 1, 0, new Penalties(number(of, "repetition_penalty", 1), 0, 0), 0),
                new Answers(
                        (int) number(of, "num_return_sequences", 1),
                        new BeamSearch((int) number(of, "num_beams", 1), number(of, "length_penalty", 1), stopping)),
                List.of(),
                Arrays.stream(ints(row.get("end_tokens"))).boxed().toList(),
                true);
    }

    /** All prompts and settings of a family go on together. */
    @ParameterizedTest
    @ValueSource(strings = {"mistral", "qwen3", "gemma2", "gpt2", "gpt_neox", "phi3"})
    void answersAreTransformers(String family) throws Exception {
        Map<String, Object> fixture = Json.readObject(Fixtures.ROOT.resolve("generation/beams.json"));
        List<Map<?, ?>> rows = ((List<?>) fixture.get("rows"))
                .stream()
                        .<Map<?, ?>>map(row -> (Map<?, ?>) row)
                        .filter(row -> row.get("family").equals(family))
                        .toList();
        assertThat(rows).hasSize(6);
        try (HeadedModel model = open(family);
                Engine engine = new Engine(model.model(), (LanguageHead) model.head(), Engine.Limits.of(20))) {
            List<List<Request>> requests = new ArrayList<>();
            for (Map<?, ?> row : rows) {
                List<Request> own = new ArrayList<>();
                for (Object prompt : (List<?>) row.get("prompts")) {
                    own.add(engine.add(
                            new Prompt(ints(prompt), null, 0),
                            settings(row, ((Number) fixture.get("max_new_tokens")).intValue()),
                            null,
                            GenerationListener.NONE));
                }
                requests.add(own);
            }
            engine.run();
            for (int r = 0; r < rows.size(); r++) {
                for (int p = 0; p < requests.get(r).size(); p++) {
                    List<?> theirs = (List<?>) ((List<?>) rows.get(r).get("answers")).get(p);
                    List<?> logProbs = (List<?>) ((List<?>) rows.get(r).get("log_probs")).get(p);
                    List<Generated> ours = requests.get(r).get(p).answers();
                    assertThat(ours).hasSameSizeAs(theirs);
                    for (int a = 0; a < ours.size(); a++) {
                        String what = String.format(
                                Locale.ROOT,
                                "%s, prompt %d, answer %d",
                                rows.get(r).get("settings"),
                                p,
                                a);
                        assertThat(ours.get(a).ids()).as(what).isEqualTo(ints(theirs.get(a)));
                        double[] expected = ((List<?>) logProbs.get(a))
                                .stream()
                                        .mapToDouble(value -> ((Number) value).doubleValue())
                                        .toArray();
                        assertThat(ours.get(a).logProbs()).as(what).containsExactly(expected, offset(1e-4));
                    }
                }
            }
            assertThat(engine.load())
                    .extracting(Engine.Load::blocks, Engine.Load::promised)
                    .containsExactly(0, 0L);
        }
    }

    @Test
    void aSearchEndsAtAStopString() throws Exception {
        try (HeadedModel model = open("mistral")) {
            Generator generator = new Generator(model.model(), (LanguageHead) model.head());
            Answers answers = new Answers(3, new BeamSearch(3, -1, BeamSearch.EarlyStopping.NO)); // short ones win
            Decoder decoder = (prompt, ids) -> {
                StringBuilder text = new StringBuilder();
                for (int id : ids) {
                    text.append((char) ('a' + id / 8)).append((char) ('A' + id % 8));
                }
                return text.toString();
            };
            List<Prompt> prompts = List.of(new Prompt(new int[] {33, 28}, null, 0));
            String whole = generator
                    .generate(
                            prompts,
                            new GenerationSettings(8, Sampling.GREEDY, answers, List.of(), List.of(), false),
                            decoder,
                            GenerationListener.NONE)
                    .get(0)
                    .text();
            String stop = whole.substring(5, 8); // begins within a token
            List<Generated> stopped = generator
                    .answers(
                            prompts,
                            new GenerationSettings(8, Sampling.GREEDY, answers, List.of(stop), List.of(), false),
                            decoder,
                            GenerationListener.NONE)
                    .get(0);
            assertThat(stopped)
                    .hasSize(3)
                    .allSatisfy(one -> assertThat(one.text()).doesNotContain(stop));
            assertThat(stopped).anySatisfy(one -> {
                assertThat(one.reason()).isEqualTo(Generated.Reason.STOP_STRING);
                assertThat(whole).startsWith(one.text() + stop);
            });
        }
    }

    @Test
    void refusesWhatMakesNoSense() throws Exception {
        BeamSearch search = new BeamSearch(4, 1, BeamSearch.EarlyStopping.NO);
        assertThatThrownBy(() -> new BeamSearch(1, 1, BeamSearch.EarlyStopping.NO))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("num_beams must be at least 2");
        assertThatThrownBy(() -> new BeamSearch(2, Double.NaN, BeamSearch.EarlyStopping.NO))
                .hasMessageContaining("length_penalty");
        assertThatThrownBy(
                        () -> settings(Sampling.GREEDY, new Answers(5, search)).checkTogether())
                .hasMessageContaining("n must be at most num_beams");
        assertThatThrownBy(() -> new Answers(0, null)).hasMessageContaining("n must be at least 1");
        assertThatThrownBy(() ->
                        settings(Sampling.draws(0.7, 0), new Answers(1, search)).checkTogether())
                .hasMessageContaining("temperature beside num_beams");
        assertThatThrownBy(() -> settings(new Sampling(0, 0, 1, 0.1, Penalties.NONE, 0), new Answers(1, search))
                        .checkTogether())
                .hasMessageContaining("min_p beside num_beams");
        assertThatThrownBy(() -> settings(Sampling.GREEDY, new Answers(2, null)).checkTogether())
                .hasMessageContaining("n must be 1 where the likeliest tokens are taken");
        try (HeadedModel model = open("mistral");
                Engine few = new Engine(model.model(), (LanguageHead) model.head(), Engine.Limits.of(3));
                Engine many = new Engine(model.model(), (LanguageHead) model.head(), Engine.Limits.of(50))) {
            Prompt prompt = new Prompt(new int[] {5}, null, 0, "row 7");
            assertThatThrownBy(() -> few.add(
                            prompt, settings(Sampling.GREEDY, new Answers(1, search)), null, GenerationListener.NONE))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining("row 7 wants 4 sequences at once (num_beams), but at most 3");
            Answers wide = new Answers(1, new BeamSearch(33, 1, BeamSearch.EarlyStopping.NO));
            assertThatThrownBy(() -> many.add(prompt, settings(Sampling.GREEDY, wide), null, GenerationListener.NONE))
                    .hasMessageContaining("looks at 66 tokens in each step, but the vocabulary has 64");
        }
    }

    private static GenerationSettings settings(Sampling sampling, Answers answers) {
        return new GenerationSettings(5, sampling, answers, List.of(), List.of(), false);
    }
}
