package org.peft4j.data.template;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.peft4j.data.template.AssistantSpans.Turns;
import org.peft4j.data.template.ChatTemplate.Inputs;
import org.peft4j.error.ConfigException;

/** Broken templates: a text or our exception, never anything else, and soon. */
@SuppressWarnings("unchecked")
class TemplateFuzzTest {
    private static final List<String> PIECES = List.of(("""
                    {{¦}}¦{%¦%}¦{#¦#}¦-¦+¦|¦(¦)¦[¦]¦{¦}¦:¦,¦.¦~¦*¦**¦/¦//¦%¦==¦<¦'¦"¦\\¦\n¦ ¦0¦1¦-1¦99999999999¦1.5¦none¦true¦not ¦ in \
                    ¦ is ¦ if ¦ else ¦if ¦endif¦for x in ¦endfor¦else¦elif ¦set ¦set x = ¦endset¦macro m()¦endmacro¦call m()¦endcall\
                    ¦filter upper¦endfilter¦raw¦endraw¦break¦continue¦generation¦endgeneration¦messages¦message¦tools¦loop¦loop.last\
                    ¦namespace()¦range(9)¦|length¦|tojson¦|list¦|map¦|select¦|sort¦|join¦|first¦|int¦|float¦|safe¦|default¦.content\
                    ¦.items()¦.split()¦.format(¦[1:]¦[::-1]¦defined¦string¦mapping¦raise_exception('x')¦strftime_now(¦🙂¦\0¦é¦recursive\
                    ¦caller()¦varargs¦self¦**kwargs¦*varargs""").split("¦", -1));

    @Test
    @Timeout(120)
    void aBrokenTemplateIsRefusedOrRenders() throws IOException {
        Map<String, @Nullable Object> rendered = Fixture.read("rendered.json");
        List<Map<String, @Nullable Object>> conversations =
                (List<Map<String, @Nullable Object>>) rendered.get("conversations");
        List<String> sources = new ArrayList<>();
        for (String name : ((Map<String, ?>) rendered.get("templates")).keySet()) {
            sources.add(Fixture.source(name));
        }
        for (Object pair : (List<?>) Fixture.read("snippets.json").get("snippets")) {
            sources.add((String) ((List<?>) pair).get(0));
        }
        Random random = new Random(1);
        int texts = 0;
        for (int i = 0; i < 4000; i++) {
            String template = mutated(sources.get(random.nextInt(sources.size())), sources, random);
            Inputs inputs = Fixture.inputs(rendered, conversations.get(random.nextInt(conversations.size())))
                    .withVariables(Fixture.VARIABLES);
            long start = System.nanoTime();
            try {
                ChatTemplate parsed = ChatTemplate.parse(template, "here");
                parsed.render(inputs);
                AssistantSpans.of(parsed, inputs, Turns.ALL);
                texts++;
            } catch (ConfigException e) {
                assertThat(e.getMessage()).isNotEmpty();
            } catch (RuntimeException | StackOverflowError e) {
                throw new AssertionError("round " + i + ": " + template, e);
            }
            assertThat(Duration.ofNanos(System.nanoTime() - start)).as(template).isLessThan(Duration.ofSeconds(30));
        }
        assertThat(texts).as("templates that still render").isGreaterThan(200);
    }

    private static String mutated(String source, List<String> sources, Random random) {
        StringBuilder template = new StringBuilder(source);
        for (int changes = 1 + random.nextInt(4); changes > 0; changes--) {
            int at = random.nextInt(template.length() + 1);
            int end = Math.min(template.length(), at + random.nextInt(12));
            switch (random.nextInt(5)) {
                case 0 -> template.delete(at, end);
                case 1 -> template.insert(at, PIECES.get(random.nextInt(PIECES.size())));
                case 2 -> template.replace(at, end, PIECES.get(random.nextInt(PIECES.size())));
                case 3 -> template.insert(at, template.substring(at, end));
                default -> {
                    String other = sources.get(random.nextInt(sources.size()));
                    int from = random.nextInt(other.length() + 1);
                    template.insert(at, other, from, Math.min(other.length(), from + random.nextInt(60)));
                }
            }
        }
        return template.toString();
    }
}
