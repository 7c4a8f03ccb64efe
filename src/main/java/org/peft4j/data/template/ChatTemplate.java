package org.peft4j.data.template;

import java.time.Clock;
import java.time.ZoneId;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;

/** A chat template, ready to render. Immutable, any thread. */
public final class ChatTemplate {
    /** Characters of a template. */
    static final int MAX_LENGTH = 1 << 20;

    private static final int MOST_SHOWN = 2000;
    private static final Set<String> OWN_NAMES = Set.of("messages", "tools", "documents", "add_generation_prompt");

    private final String where;
    private final String source;
    private final List<Stmt> template;
    private final Scopes scopes;
    private final boolean marksGeneration;

    /**
     * From one character of a text to before another, counted as Java counts.
     */
    public record Span(int begin, int end) {}

    /**
     * A rendered conversation.
     *
     * @param text      the text, special tokens in it
     * @param assistant what stands in {@code generation} blocks, in their order, as transformers computes it: wrong, even
     *                  behind the text, for blocks in a macro. Empty where the template has none. {@link AssistantSpans}
     *                  says where it is wrong, and tells it for other templates, too
     */
    public record Rendered(String text, List<Span> assistant) {}

    /**
     * What a template is given. Maps, lists, texts, numbers, booleans and null, as from JSON.
     *
     * @param messages            the conversation: {@code role}, {@code content} and what else the template reads
     * @param tools               JSON schemas of functions; null for none, which is not the same as an empty list
     * @param documents           documents for templates that take some; null for none
     * @param addGenerationPrompt whether the text ends with what stands before an answer
     * @param around              what does not change from conversation to conversation
     */
    public record Inputs(
            List<? extends Map<String, ? extends @Nullable Object>> messages,
            @Nullable List<?> tools,
            @Nullable List<?> documents,
            boolean addGenerationPrompt,
            Around around) {
        /**
         * What does not change from conversation to conversation.
         *
         * @param specialTokens texts of special tokens by name: {@code bos_token}
         * @param variables     what else the template reads, such as {@code enable_thinking}
         * @param clock         what {@code strftime_now} takes time and zone from
         */
        public record Around(
                Map<String, String> specialTokens, Map<String, ? extends @Nullable Object> variables, Clock clock) {}

        /** A conversation alone, at the time of this machine. */
        public static Inputs of(List<? extends Map<String, ? extends @Nullable Object>> messages) {
            Around nothing = new Around(Map.of(), Map.of(), Clock.system(ZoneId.systemDefault()));
            return new Inputs(messages, null, null, false, nothing);
        }

        /** The same with other messages. */
        public Inputs withMessages(List<? extends Map<String, ? extends @Nullable Object>> other) {
            return new Inputs(other, tools, documents, addGenerationPrompt, around);
        }

        /** The same with tools. */
        public Inputs withTools(@Nullable List<?> other) {
            return new Inputs(messages, other, documents, addGenerationPrompt, around);
        }

        /** The same with documents. */
        public Inputs withDocuments(@Nullable List<?> other) {
            return new Inputs(messages, tools, other, addGenerationPrompt, around);
        }

        /** The same with or without what stands before an answer. */
        public Inputs withGenerationPrompt(boolean add) {
            return new Inputs(messages, tools, documents, add, around);
        }

        /** The same with special tokens. */
        public Inputs withSpecialTokens(Map<String, String> other) {
            return with(new Around(other, around.variables(), around.clock()));
        }

        /** The same with other variables. */
        public Inputs withVariables(Map<String, ? extends @Nullable Object> other) {
            return with(new Around(around.specialTokens(), other, around.clock()));
        }

        /** The same at another time. */
        public Inputs withClock(Clock other) {
            return with(new Around(around.specialTokens(), around.variables(), other));
        }

        private Inputs with(Around other) {
            return new Inputs(messages, tools, documents, addGenerationPrompt, other);
        }
    }

    /** A text, and its generation blocks as they were met. */
    record Outcome(String text, List<Interpreter.Generated> generated) {}

    private ChatTemplate(String where, String source, List<Stmt> template, boolean marksGeneration) {
        this.where = where;
        this.source = source;
        this.template = template;
        this.marksGeneration = marksGeneration;
        this.scopes = Scopes.of(template);
    }

    /**
     * Reads a template.
     *
     * @param where the file, for messages
     * @throws ConfigException if it is none, or uses what we do not have; says the line
     */
    public static ChatTemplate parse(String source, String where) {
        if (source.length() > MAX_LENGTH) {
            throw new ConfigException(where + ": a chat template has " + source.length() + " characters, at most "
                    + MAX_LENGTH + " allowed");
        }
        try {
            List<Stmt> template = Parser.parse(source);
            return new ChatTemplate(where, source, template, template.stream().anyMatch(ChatTemplate::hasGeneration));
        } catch (TemplateError e) {
            throw told(where, e);
        }
    }

    /** Where the template comes from. */
    public String where() {
        return where;
    }

    /** The template itself. */
    public String source() {
        return source;
    }

    /** Whether the template says itself what the assistant writes: it has a {@code generation} block. */
    public boolean marksGeneration() {
        return marksGeneration;
    }

    /**
     * Renders a conversation.
     *
     * @throws ConfigException          if the template refuses it, asks for what it does not have, or takes too long; says the
     *                                  line
     * @throws IllegalArgumentException if there is something in the inputs that JSON does not have
     */
    public Rendered render(Inputs inputs) {
        Outcome outcome = checked(inputs);
        return new Rendered(
                outcome.text(),
                outcome.generated().stream()
                        .map(block -> new Span(
                                block.begin(), block.begin() + block.text().length()))
                        .toList());
    }

    /** The same with the blocks. */
    Outcome checked(Inputs inputs) {
        if (inputs.messages().isEmpty()) {
            throw new ConfigException("a conversation must have at least one message, got none");
        }
        return outcome(inputs);
    }

    /** The same also without any message, for what stands before the first one. */
    Outcome outcome(Inputs inputs) {
        Budget budget = new Budget();
        try {
            Interpreter interpreter = new Interpreter(scopes, given(inputs, budget), budget);
            String text = interpreter.render(template);
            return new Outcome(text, List.copyOf(interpreter.generated()));
        } catch (TemplateError e) {
            throw told(where, e);
        }
    }

    private static Map<String, @Nullable Object> given(Inputs inputs, Budget budget) {
        Map<String, @Nullable Object> given =
                new HashMap<>(Functions.all(inputs.around().clock(), budget));
        given.putAll(inputs.around().specialTokens());
        inputs.around().variables().forEach((name, value) -> {
            if (OWN_NAMES.contains(name)) {
                throw new ConfigException("a variable for chat templates cannot be named '" + name
                        + "': the conversation is given under this name");
            }
            given.put(name, Types.of(value));
        });
        objects("tool", inputs.tools());
        objects("document", inputs.documents());
        given.put("messages", Types.of(new ArrayList<>(inputs.messages())));
        given.put("tools", Types.of(inputs.tools()));
        given.put("documents", Types.of(inputs.documents()));
        given.put("add_generation_prompt", inputs.addGenerationPrompt());
        return Collections.unmodifiableMap(new LinkedHashMap<>(given));
    }

    private static void objects(String what, @Nullable List<?> all) {
        for (Object one : all == null ? List.of() : all) {
            if (!(one instanceof Map<?, ?>)) {
                throw new ConfigException("a " + what + " for chat templates must be an object, {…}, got " + one);
            }
        }
    }

    private static boolean hasGeneration(Stmt statement) {
        return statement instanceof Stmt.Generation
                || Stmt.bodies(statement).stream().flatMap(List::stream).anyMatch(ChatTemplate::hasGeneration);
    }

    private static ConfigException told(String where, TemplateError error) {
        String place = where + (error.line() > 0 ? ", line " + error.line() : "") + ": ";
        return new ConfigException(place
                + switch (error.kind()) {
                    case SYNTAX -> "no chat template that can be read: " + shown(error);
                    case UNSUPPORTED -> shown(error) + " in chat templates; give one without it";
                    case FAULT -> "the template cannot render this: " + shown(error);
                    case REFUSED -> "the template refuses these messages: " + shown(error);
                    case LIMIT -> "the template asks for too much: " + shown(error);
                });
    }

    /** What a template says itself may be long, and a terminal must not obey it. */
    private static String shown(TemplateError error) {
        StringBuilder out = new StringBuilder();
        String message = String.valueOf(error.getMessage());
        message.codePoints().limit(MOST_SHOWN).forEach(c -> {
            if (c != '\n' && (Character.isISOControl(c) || Character.getType(c) == Character.FORMAT)) {
                out.append(String.format("\\u%04x", c));
            } else {
                out.appendCodePoint(c);
            }
        });
        return message.length() > MOST_SHOWN ? out + " …" : out.toString();
    }
}
