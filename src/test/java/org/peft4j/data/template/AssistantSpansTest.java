package org.peft4j.data.template;

import static org.assertj.core.api.Assertions.assertThat;
import static org.peft4j.data.template.Fixture.turns;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.peft4j.data.template.AssistantSpans.Turns;
import org.peft4j.data.template.ChatTemplate.Inputs;
import org.peft4j.error.ConfigException;

/** Which part of a rendered conversation is the assistant's. */
@SuppressWarnings("unchecked")
class AssistantSpansTest {
    /**
     * Templates without marks say by prefixes what trl's copies of them say with marks, wherever both render the same text
     * and it can be told; {@code told} is how often that is.
     */
    @ParameterizedTest
    @CsvSource({
        "llama3, 57",
        "gemma, 28",
        "gemma3, 40",
        "phi3, 52",
        "phi3_5, 52",
        "qwen2_5, 53",
        "qwen3, 34",
        "qwen3_instruct_2507, 57",
        "cohere, 36",
        "cohere2, 42",
        "lfm2, 55"
    })
    void prefixesTellWhatMarksTell(String name, int told) throws IOException {
        ChatTemplate plain = Fixture.template("trl/" + name);
        ChatTemplate marked = Fixture.template("trl/" + name + "_training");
        Map<String, @Nullable Object> fixture = Fixture.read("rendered.json");
        int count = 0;
        for (Map<String, @Nullable Object> conversation :
                (List<Map<String, @Nullable Object>>) fixture.get("conversations")) {
            Inputs inputs = Fixture.inputs(fixture, conversation);
            for (Turns turns : Turns.values()) {
                Optional<AssistantSpans> byMarks = spans(marked, inputs, turns);
                Optional<AssistantSpans> byPrefixes = spans(plain, inputs, turns);
                if (byMarks.isPresent()
                        && byPrefixes.isPresent()
                        && byMarks.get().text().equals(byPrefixes.get().text())
                        && byPrefixes.get().spans().isPresent()) {
                    count++;
                    // trl begins an answer of Qwen 2.5 before the line end that belongs to the generation prompt
                    List<String> expected = texts(byMarks.get()).stream()
                            .map(text -> name.equals("qwen2_5") ? text.substring(1) : text)
                            .toList();
                    assertThat(texts(byPrefixes.get()))
                            .as("%s, %s", conversation.get("name"), turns)
                            .isEqualTo(expected);
                }
            }
        }
        assertThat(count).isEqualTo(told);
    }

    private static Optional<AssistantSpans> spans(ChatTemplate template, Inputs inputs, Turns turns) {
        try {
            return Optional.of(AssistantSpans.of(template, inputs, turns));
        } catch (ConfigException e) {
            return Optional.empty(); // the template refuses the conversation
        }
    }

    @Test
    void theEndOfATurnIsTheAssistants() throws IOException {
        AssistantSpans spans = AssistantSpans.of(Fixture.template("own/chatml"), turns("a", "b", "c", "d"), Turns.ALL);
        assertThat(spans.text()).startsWith("<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n");
        assertThat(texts(spans)).containsExactly("b<|im_end|>\n", "d<|im_end|>\n");
        assertThat(spans.reason()).isEmpty();
    }

    @Test
    void anEndOfTextThatOnlyTheLastTurnHasIsPartOfIt() {
        ChatTemplate template = ChatTemplate.parse(
                "{% for m in messages %}<{{ m.role }}>{{ m.content }}|{% endfor %}"
                        + "{{ '<assistant>' if add_generation_prompt else eos_token }}",
                "here");
        assertThat(texts(AssistantSpans.of(template, turns("a", "b", "c", "d"), Turns.ALL)))
                .containsExactly("b|", "d|</s>");
    }

    @Test
    void whatIsToldDifferentlyWhenMessagesFollowIsNotGuessed() throws IOException {
        ChatTemplate template = Fixture.template("trl/qwen3");
        AssistantSpans all = AssistantSpans.of(template, turns("a", "b", "c", "d"), Turns.ALL);
        assertThat(all.spans()).isEmpty();
        assertThat(all.text()).endsWith("<think>\n\n</think>\n\nd<|im_end|>\n");
        assertThat(all.reason())
                .isEqualTo(
                        "trl/qwen3: which part of the text is message 2 cannot be told, since the template renders it"
                                + " differently when messages follow; train on the last turn alone, or give a template with"
                                + " {% generation %} blocks around what the assistant writes");
        AssistantSpans last = AssistantSpans.of(template, turns("a", "b", "c", "d"), Turns.LAST);
        assertThat(texts(last)).containsExactly("<think>\n\n</think>\n\nd<|im_end|>\n");
    }

    @Test
    void anAnswerThatDoesNotBeginWithTheGenerationPromptIsNotGuessed() throws IOException {
        AssistantSpans spans =
                AssistantSpans.of(Fixture.template("trl/deepseek_r1_distill"), turns("a", "b"), Turns.LAST);
        assertThat(spans.spans()).isEmpty();
        assertThat(spans.reason()).contains("the generation prompt; give a template with");
    }

    @Test
    void aBlockWhosePlaceIsNotKnownIsNotGuessed() {
        ChatTemplate template = ChatTemplate.parse(
                "{% macro turn(m) %}A: {% generation %}{{ m.content }}{% endgeneration %}{% endmacro %}\n"
                        + "{% for m in messages %}{{ turn(m) }};{% endfor %}",
                "here");
        AssistantSpans spans = AssistantSpans.of(template, turns("a", "b"), Turns.ALL);
        assertThat(spans.text()).isEqualTo("A: a;A: b;");
        assertThat(spans.spans()).isEmpty();
        assertThat(spans.reason()).startsWith("here, line 1: ").contains("its place is not known");
    }

    @Test
    void touchingBlocksAreOneAndEmptyOnesNone() {
        ChatTemplate template = ChatTemplate.parse(
                "{% for m in messages %}{% if m.role == 'assistant' %}>{% generation %}{{ m.content }}{% endgeneration %}"
                        + "{% generation %}.{% endgeneration %}{% generation %}{% endgeneration %}{% endif %}{% endfor %}",
                "here");
        assertThat(template.marksGeneration()).isTrue();
        assertThat(texts(AssistantSpans.of(template, turns("a", "b", "c", "d🙂"), Turns.ALL)))
                .containsExactly("b.", "d🙂.");
        assertThat(texts(AssistantSpans.of(template, turns("a", "b", "c", "d🙂"), Turns.LAST)))
                .containsExactly("d🙂.");
    }

    @Test
    void aConversationWithoutAnAssistantHasNoneOfItsText() throws IOException {
        AssistantSpans spans = AssistantSpans.of(Fixture.template("own/chatml"), turns("a"), Turns.LAST);
        assertThat(spans.spans()).contains(List.of());
    }

    private static List<String> texts(AssistantSpans spans) {
        List<String> texts = new ArrayList<>();
        spans.spans().orElseThrow().forEach(span -> texts.add(spans.text().substring(span.begin(), span.end())));
        return texts;
    }
}
