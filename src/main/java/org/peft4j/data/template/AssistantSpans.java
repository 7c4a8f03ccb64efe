package org.peft4j.data.template;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.peft4j.data.template.ChatTemplate.Inputs;
import org.peft4j.data.template.ChatTemplate.Span;
import org.peft4j.error.ConfigException;

/**
 * A rendered conversation and what in it the assistant writes, the end of each turn included, since that has to be learned
 * too. A template with {@code generation} blocks says it. For others a turn is what the text gains by it: from the end of
 * the messages before it with what stands before an answer, to the end of the messages with it. That holds only where each
 * of these texts begins the next one. A template may break that, by leaving out thoughts of earlier turns for example;
 * then it cannot be told, and training must not guess.
 *
 * @param text   the text
 * @param spans  what the assistant writes, in order, touching ones joined; empty where that cannot be told
 * @param reason why it cannot be told; empty where it can
 */
public record AssistantSpans(String text, Optional<List<Span>> spans, String reason) {
    /** Which turns of the assistant are asked for. */
    public enum Turns {
        ALL,
        /** The last turn alone; it can be told for more templates. */
        LAST
    }

    private static final String WAY_OUT =
            "give a template with {% generation %} blocks around what the assistant writes";

    /**
     * Renders a conversation and finds the assistant's turns. A template without {@code generation} blocks is rendered twice
     * more for each of them.
     *
     * @throws ConfigException as {@link ChatTemplate#render}, for the conversation as a whole
     */
    public static AssistantSpans of(ChatTemplate template, Inputs inputs, Turns turns) {
        return of(template, inputs, turns, 0);
    }

    /**
     * The same of the last messages alone.
     *
     * @param first number of the first message that is asked about, from 0: those before it are a prompt
     */
    public static AssistantSpans of(ChatTemplate template, Inputs inputs, Turns turns, int first) {
        if (!template.marksGeneration()) {
            return new Prefixes(template, inputs, template.render(inputs).text(), first).find(turns);
        }
        ChatTemplate.Outcome outcome = template.checked(inputs);
        List<Span> spans = new ArrayList<>();
        for (Interpreter.Generated block : outcome.generated()) {
            if (!outcome.text().startsWith(block.text(), block.begin())) {
                return new AssistantSpans(
                        outcome.text(),
                        Optional.empty(),
                        template.where() + ", line " + block.line()
                                + ": a generation block stands in a macro or another"
                                + " block whose text is used later, so its place is not known");
            }
            add(spans, new Span(block.begin(), block.begin() + block.text().length()));
        }
        if (first == 0) {
            return told(outcome.text(), spans, turns);
        }
        Prefixes prefixes = new Prefixes(template, inputs, outcome.text(), first);
        String prompt = prefixes.rendered(first, false);
        int begin = prompt == null ? -1 : prefixes.end(prompt);
        if (begin < 0) {
            return prefixes.unknown(
                    first, "the template renders the messages before it differently when messages follow", turns);
        }
        return told(
                outcome.text(),
                spans.stream().filter(span -> span.begin() >= begin).toList(),
                turns);
    }

    private static AssistantSpans told(String text, List<Span> spans, Turns turns) {
        List<Span> asked =
                turns == Turns.LAST && !spans.isEmpty() ? spans.subList(spans.size() - 1, spans.size()) : spans;
        return new AssistantSpans(text, Optional.of(List.copyOf(asked)), "");
    }

    private static void add(List<Span> spans, Span span) {
        if (span.begin() == span.end()) {
            return;
        }
        Span last = spans.isEmpty() ? null : spans.get(spans.size() - 1);
        if (last != null && last.end() == span.begin()) {
            spans.set(spans.size() - 1, new Span(last.begin(), span.end()));
        } else {
            spans.add(span);
        }
    }

    /** The way by the texts of the first messages. */
    private record Prefixes(ChatTemplate template, Inputs inputs, String text, int first) {
        AssistantSpans find(Turns turns) {
            List<Integer> assistant = new ArrayList<>();
            for (int i = first; i < inputs.messages().size(); i++) {
                Map<String, ?> message = inputs.messages().get(i);
                if ("assistant".equals(message.get("role"))) {
                    assistant.add(i);
                }
            }
            if (turns == Turns.LAST && !assistant.isEmpty()) {
                assistant = List.of(assistant.get(assistant.size() - 1));
            }
            List<Span> spans = new ArrayList<>();
            for (int turn : assistant) {
                String before = rendered(turn, true);
                String with = rendered(turn + 1, false);
                if (before == null || with == null) {
                    return unknown(turn, "the template does not render the first messages alone", turns);
                }
                int end = end(with);
                if (end < 0) {
                    return unknown(turn, "the template renders it differently when messages follow", turns);
                }
                if (!text.startsWith(before) || end < before.length()) {
                    return unknown(
                            turn,
                            "the text up to it does not begin with that of the messages before it and the generation prompt",
                            turns);
                }
                add(spans, new Span(before.length(), end));
            }
            return told(text, spans, turns);
        }

        /** The first messages alone; null where the template does not want them so. */
        private @Nullable String rendered(int count, boolean prompt) {
            try {
                return template.outcome(inputs.withMessages(inputs.messages().subList(0, count))
                                .withGenerationPrompt(prompt))
                        .text();
            } catch (ConfigException e) {
                return null;
            }
        }

        /** Where the text of the messages so far ends in the whole one, but for an eos_token that ends any text; or -1. */
        private int end(String with) {
            if (text.startsWith(with)) {
                return with.length();
            }
            String eos = inputs.around().specialTokens().getOrDefault("eos_token", "");
            int end = with.length() - eos.length();
            return !eos.isEmpty() && with.endsWith(eos) && text.startsWith(with.substring(0, end)) ? end : -1;
        }

        private AssistantSpans unknown(int turn, String why, Turns turns) {
            return new AssistantSpans(
                    text,
                    Optional.empty(),
                    template.where() + ": which part of the text is message " + (turn + 1) + " cannot be told, since "
                            + why + "; " + (turns == Turns.ALL ? "train on the last turn alone, or " : "") + WAY_OUT);
        }
    }
}
