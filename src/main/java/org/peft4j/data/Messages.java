package org.peft4j.data;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.peft4j.io.Json;

/**
 * The messages of a conversation as chat templates want them: {@code role} and {@code content}, and what else they have
 * ({@code tool_calls}, {@code reasoning_content}, …). ShareGPT's {@code from} and {@code value} become these. Whether roles and
 * their order are fine is the template's to say.
 *
 * <p>Keys with null are left out, since libraries of data sets fill up with them what a message does not have; {@code content}
 * stays, of which templates ask whether it is null.
 */
final class Messages {
    private static final String ROLE = "role";
    private static final String CONTENT = "content";

    /** ShareGPT's names of who speaks. */
    private static final Map<String, String> SPEAKERS = Map.ofEntries(
            Map.entry("human", "user"),
            Map.entry("user", "user"),
            Map.entry("gpt", "assistant"),
            Map.entry("chatgpt", "assistant"),
            Map.entry("model", "assistant"),
            Map.entry("assistant", "assistant"),
            Map.entry("function_call", "assistant"),
            Map.entry("system", "system"),
            Map.entry("tool", "tool"),
            Map.entry("observation", "tool"),
            Map.entry("function_response", "tool"));

    private final Row row;
    private final String column;

    private Messages(Row row, String column) {
        this.row = row;
        this.column = column;
    }

    /** The messages in a column: a list, or JSON text of one. */
    static List<Map<String, @Nullable Object>> of(Row row, String column) {
        Messages reader = new Messages(row, column);
        List<Map<String, @Nullable Object>> messages = new ArrayList<>();
        for (Object item : reader.list("messages, [{\"role\": …, \"content\": …}, …]")) {
            messages.add(reader.message(item, messages.size() + 1));
        }
        if (messages.isEmpty()) {
            throw row.wrong("expected at least one message in column '" + column + "', received an empty list");
        }
        return Collections.unmodifiableList(messages);
    }

    /** The tools in a column: a list of objects or of their JSON texts, or JSON text of one. An empty text is none. */
    static @Nullable List<?> tools(Row row, String column) {
        if (!row.has(column) || "".equals(row.fields().get(column))) {
            return null;
        }
        Messages reader = new Messages(row, column);
        List<Object> tools = new ArrayList<>();
        for (Object item : reader.list("tools, [{\"type\": \"function\", …}, …]")) {
            Object tool = item instanceof String text ? reader.parsed(text) : item;
            if (!(tool instanceof Map)) {
                throw row.wrong("expected an object for tool " + (tools.size() + 1) + " in column '" + column
                        + "', received " + Row.describe(tool));
            }
            reader.whole(tool);
            tools.add(tool);
        }
        return Collections.unmodifiableList(tools);
    }

    private List<?> list(String what) {
        Object value = row.fields().get(column);
        Object list = value instanceof String text ? parsed(text) : value;
        if (list instanceof List<?> items) {
            return items;
        }
        throw row.wrong("expected a list of " + what + " in column '" + column + "', received " + Row.describe(list));
    }

    private @Nullable Object parsed(String json) {
        try {
            return Json.parse(json);
        } catch (IllegalArgumentException e) {
            throw row.wrong("expected a list, or JSON text of one, in column '" + column + "', received a text that is "
                    + e.getMessage());
        }
    }

    private Map<String, @Nullable Object> message(@Nullable Object item, int number) {
        String where = "message " + number + " in column '" + column + "'";
        if (!(item instanceof Map<?, ?> map)) {
            throw row.wrong("expected an object such as {\"role\": \"user\", \"content\": \"…\"} for " + where
                    + ", received " + Row.describe(item));
        }
        Map<String, @Nullable Object> fields = new LinkedHashMap<>();
        map.forEach((key, value) -> {
            if (value != null || CONTENT.equals(key)) {
                fields.put(String.valueOf(key), value);
            }
        });
        whole(fields);
        refuseWeights(fields, where);
        if (fields.get(ROLE) == null && fields.get("from") != null) {
            return spoken(fields, where);
        }
        if (!(fields.get(ROLE) instanceof String)) {
            throw row.wrong("expected a text as role (or from) of " + where + ", received "
                    + (fields.containsKey(ROLE) ? Row.describe(fields.get(ROLE)) : "the keys " + fields.keySet()));
        }
        Object content = fields.get(CONTENT);
        if (content != null && !(content instanceof String) && !(content instanceof List)) {
            throw row.wrong("expected a text, a list of parts, or null as content of " + where + ", received "
                    + Row.describe(content));
        }
        return Collections.unmodifiableMap(fields);
    }

    /** Other programs leave such messages out of training; that is not offered, so it is not passed over. */
    private void refuseWeights(Map<String, @Nullable Object> fields, String where) {
        for (String key : List.of("weight", "train")) {
            Object value = fields.get(key);
            boolean whole = value == null
                    || Boolean.TRUE.equals(value)
                    || (value instanceof Number number && number.doubleValue() == 1);
            if (!whole) {
                throw row.wrong(where + " has " + key + " " + Json.shown(value) + ", but messages cannot be weighed one"
                        + " by one; leave the key out, and choose what is learned by loss_on or a template with"
                        + " {% generation %} blocks");
            }
            fields.remove(key);
        }
    }

    /** A message of ShareGPT's. */
    private Map<String, @Nullable Object> spoken(Map<String, @Nullable Object> fields, String where) {
        Object from = fields.remove("from");
        String role = SPEAKERS.get(String.valueOf(from));
        if (role == null) {
            throw row.wrong("expected human, gpt, system, tool, observation or function_call as from of " + where
                    + ", received " + Json.shown(from instanceof String ? from : Row.describe(from)));
        }
        if (!(fields.remove("value") instanceof String value)) {
            throw row.wrong("expected a text as value of " + where + ", received the keys " + fields.keySet());
        }
        Map<String, @Nullable Object> message = new LinkedHashMap<>();
        message.put(ROLE, role);
        if ("function_call".equals(from)) {
            if (!(parsed(value) instanceof Map<?, ?> call) || !(call.get("name") instanceof String)) {
                throw row.wrong("expected {\"name\": …, \"arguments\": …} as value of " + where
                        + ", whose from is function_call, received " + Json.shown(value));
            }
            message.put(CONTENT, "");
            message.put("tool_calls", List.of(Map.of("type", "function", "function", call)));
        } else {
            message.put(CONTENT, value);
        }
        message.putAll(fields);
        return Collections.unmodifiableMap(message);
    }

    /** Refuses texts with half a character anywhere below. */
    private void whole(@Nullable Object value) {
        if (value instanceof String text) {
            row.whole(text, column);
        } else if (value instanceof Map<?, ?> map) {
            map.forEach((key, item) -> {
                whole(key);
                whole(item);
            });
        } else if (value instanceof List<?> list) {
            list.forEach(this::whole);
        }
    }
}
