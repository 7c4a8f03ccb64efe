package org.peft4j.data.chat;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Messages that belong together.
 *
 * @param messages in their order, each with {@code role} and {@code content}
 * @param tools JSON schemas of the functions that the assistant may call; null for none
 * @param prompt how many messages at the beginning are a prompt, of which nothing is learnt
 */
public record Conversation(
        List<? extends Map<String, ? extends @Nullable Object>> messages,
        @Nullable List<?> tools,
        int prompt) {
    /** Messages of which all turns of the assistant are learnt. */
    public static Conversation of(
            List<? extends Map<String, ? extends @Nullable Object>> messages, @Nullable List<?> tools) {
        return new Conversation(messages, tools, 0);
    }

    /** A prompt's messages and those that answer it. */
    public static Conversation of(
            List<? extends Map<String, ? extends @Nullable Object>> prompt,
            List<? extends Map<String, ? extends @Nullable Object>> completion,
            @Nullable List<?> tools) {
        List<Map<String, ? extends @Nullable Object>> all = new ArrayList<>(prompt);
        all.addAll(completion);
        return new Conversation(all, tools, prompt.size());
    }

    /** One turn of a user and one of the assistant. */
    public static Conversation of(String user, String assistant, @Nullable List<?> tools) {
        return of(List.of(message("user", user), message("assistant", assistant)), tools);
    }

    /** A message, the role first. */
    public static Map<String, String> message(String role, String content) {
        Map<String, String> message = new LinkedHashMap<>();
        message.put("role", Objects.requireNonNull(role, "role"));
        message.put("content", Objects.requireNonNull(content, "content"));
        return Collections.unmodifiableMap(message);
    }
}
