package org.peft4j.data.template;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.data.template.Fixture.turns;

import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.error.ConfigException;

/** A template comes from anywhere; it ends, in bounded time, memory and stack. */
@Timeout(120)
class BoundsTest {
    private static final String WIDE = "{% for a in range(100000) %}";

    @ParameterizedTest
    @ValueSource(
            strings = {
                WIDE + WIDE + WIDE + "{% endfor %}{% endfor %}{% endfor %}",
                WIDE + "{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}",
                "{{ 'x' * 100000000 }}",
                "{{ 'x' * 99999999999999999999 }}",
                "{{ [1] * 99999999 }}",
                "{% set ns = namespace(x='x') %}" + WIDE + "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
                "{% set ns = namespace(x=[1]) %}" + WIDE + "{% set ns.x = ns.x + ns.x %}{% endfor %}",
                "{% set ns = namespace(x=[]) %}" + WIDE + "{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x|tojson }}",
                "{% set ns = namespace(x=[]) %}" + WIDE + "{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
                "{% set ns = namespace(x=[], y=[]) %}" + WIDE
                        + "{% set ns.x = [ns.x] %}{% set ns.y = [ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
                "{% set ns = namespace(x=[1]) %}" + WIDE
                        + "{% set ns.x = ns.x|map('string') %}{% endfor %}{{ ns.x|list }}",
                "{% set ns = namespace(x=[1]) %}" + WIDE + "{% set ns.x = ns.x|select %}{% endfor %}{{ ns.x|list }}",
                "{% set ns = namespace(x=2) %}" + WIDE + "{% set ns.x = ns.x * ns.x %}{% endfor %}",
                "{{ 10 ** 100000000 }}",
                "{% macro m(x) %}{{ m(x + 1) }}{% endmacro %}{{ m(1) }}",
                "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
                "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}",
                "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
                "{{ 'x'.ljust(999999999) }}",
                "{{ '%999999d' % 1 * 1000 }}",
                "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
                "{{ ('a' * 1000000).replace('', 'b' * 1000000) }}",
                "{% set t = 'a' * 8000000 %}{% set w = 'a' * 4000000 ~ 'b' %}{{ w in t }}",
                "{% set t = 'a' * 8000000 %}" + WIDE + "{{ t|upper|length }}{% endfor %}",
                "{% set t = 'a' * 8000000 %}" + WIDE + "{{ t == 'a' * 8000000 }}{% endfor %}",
                "{{ messages|tojson(indent='x' * 9000000) }}",
                "{{ ['x' * 1000000] * 1000 }}",
                "{{ (['x' * 1000000] * 1000)|join }}",
                "{{ ('x' * 1000000).join(['a'] * 100000) }}",
                "{{ range(100000)|batch(1)|list|length }}{% for x in range(100000) %}{{ range(100000)|sum }}{% endfor %}"
            })
    void aTemplateThatAsksForTooMuchIsRefused(String template) {
        assertThatThrownBy(() -> ChatTemplate.parse(template, "here").render(turns("a")))
                .isInstanceOf(ConfigException.class)
                .hasMessageStartingWith("here, line 1: the template asks for too much: ");
    }

    @ParameterizedTest
    @CsvSource({
        "{{ , (, 5000",
        "{{ , [, 5000",
        "{{ , '{1:', 5000",
        "{{ , -, 5000",
        "{{ , ' not ', 5000",
        "{{ x, .y, 5000",
        "{{ x, |upper, 5000",
        "{{ 1, +1, 5000",
        "{{ 1, ' if 1 else 2', 5000",
        "{{ , ' if 1 else ', 5000",
        "'', {% if x %}, 5000",
        "'', {% for x in y %}, 5000",
        "{{ x, [0], 5000",
        "{{ x, (), 5000",
        "{{ 1, ' is odd', 5000",
        "{{ x, ' or x', 5000",
        "{{ 1, **1, 5000",
        "{% set , '(', 5000"
    })
    void aTemplateThatIsNestedTooDeepIsNoTemplate(String begin, String again, int count) throws InterruptedException {
        AtomicReference<Throwable> thrown = new AtomicReference<>();
        Thread thread = new Thread(
                null,
                () -> {
                    try {
                        ChatTemplate.parse(begin + again.repeat(count) + " }}", "here");
                    } catch (Throwable e) {
                        thrown.set(e);
                    }
                },
                "small stack",
                512 << 10);
        thread.start();
        thread.join();
        assertThat(thrown.get()).isInstanceOf(ConfigException.class);
    }

    /** The deepest that is allowed fits on the stack of an ordinary thread, and a real depth is far from it. */
    @Test
    void theDeepestThatIsAllowedFitsOnTheStack() throws InterruptedException {
        AtomicReference<Throwable> thrown = new AtomicReference<>();
        Thread thread = new Thread(
                null,
                () -> {
                    try {
                        ChatTemplate.parse(
                                        "{% macro m(x) %}{% if x %}{% for y in [x] %}{% filter trim %}{{ [m(x - 1)]|map('trim')|join }}"
                                                + "{% endfilter %}{% endfor %}{% endif %}{% endmacro %}{{ m(99999) }}",
                                        "here")
                                .render(turns("a"));
                    } catch (Throwable e) {
                        thrown.set(e);
                    }
                },
                "small stack",
                1 << 20);
        thread.start();
        thread.join();
        assertThat(thrown.get()).isInstanceOf(ConfigException.class).hasMessageContaining("nested more than 1000 deep");
        String nested = "{% macro m(x) %}{% if x %}[{{ m(x - 1) }}]{% endif %}{% endmacro %}{{ m(100) }}";
        assertThat(ChatTemplate.parse(nested, "here").render(turns("a")).text())
                .isEqualTo("[".repeat(100) + "]".repeat(100));
    }

    @Test
    void aLongConversationIsFarFromTheBounds() throws Exception {
        String[] contents = new String[600];
        for (int i = 0; i < contents.length; i++) {
            contents[i] = ("message " + i + " ").repeat(500);
        }
        for (String name : new String[] {"trl/llama3_1", "trl/qwen3", "trl/gptoss", "own/mistral"}) {
            assertThat(Fixture.template(name).render(turns(contents)).text()).hasSizeGreaterThan(3_000_000);
        }
    }
}
