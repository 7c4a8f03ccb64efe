package org.peft4j.data.template;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.data.template.Fixture.turns;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.data.template.ChatTemplate.Inputs;
import org.peft4j.error.ConfigException;

/** What a template is given, what it cannot have, and how its faults are told. */
class ChatTemplateTest {
    @Test
    void variablesComeBeforeSpecialTokensAndAfterNothing() {
        Inputs inputs = turns("a").withVariables(Map.of("eos_token", "E", "x", List.of(1, 2.5f, true)));
        assertThat(render(
                        "{{ bos_token }}{{ eos_token }}{{ x }}{{ tools is none }}{{ add_generation_prompt }}", inputs))
                .isEqualTo("<s>E[1, 2.5, True]TrueFalse");
    }

    @Test
    void aVariableCannotTakeTheConversationsName() {
        assertThatThrownBy(() -> render("x", turns("a").withVariables(Map.of("messages", List.of()))))
                .isInstanceOf(ConfigException.class)
                .hasMessage("a variable for chat templates cannot be named 'messages': the conversation is given under"
                        + " this name");
    }

    @Test
    void aConversationHasMessages() {
        assertThatThrownBy(() -> render("x", Inputs.of(List.of())))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("at least one message");
    }

    @Test
    void toolsAndDocumentsAreObjects() {
        assertThatThrownBy(() -> render("x", turns("a").withTools(List.of("search"))))
                .isInstanceOf(ConfigException.class)
                .hasMessage("a tool for chat templates must be an object, {…}, got search");
        assertThatThrownBy(() -> render("x", turns("a").withDocuments(List.of(1))))
                .isInstanceOf(ConfigException.class)
                .hasMessage("a document for chat templates must be an object, {…}, got 1");
    }

    @Test
    void nothingButJsonCanBeGiven() {
        assertThatThrownBy(() -> render("{{ x.getClass() }}", turns("a").withVariables(Map.of("x", new Object()))))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("java.lang.Object");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{{ messages.getClass() }}",
                "{{ messages.class.name() }}",
                "{{ ''.class.forName('x') }}",
                "{{ messages[0].getClass().getName() }}",
                "{{ 'x'.hashCode() }}",
                "{{ messages.stream().count() }}",
                "{{ range.class.x }}",
                "{{ namespace().getClass() }}",
                "{{ messages.size() }}",
                "{{ 'x'.getBytes() }}"
            })
    void nothingOfJavaCanBeReached(String template) {
        assertThatThrownBy(() -> render(template, turns("a")))
                .isInstanceOf(ConfigException.class)
                .hasMessageMatching("here, line 1: the template cannot render this: a value of type \\w+ has no '.*'");
    }

    @ParameterizedTest
    @CsvSource(
            delimiterString = " => ",
            quoteCharacter = '`',
            value = {
                "{{ 'x'|urlize }} => filter 'urlize'",
                "{{ 'x'.encode() }} => 'encode' of a text",
                "{{ ('x'|safe)|truncate(3) }} => filter 'truncate' behind |safe or |escape",
                "{{ ('x'|safe).split() }} => 'split' of a text behind |safe or |escape",
                "{{ lipsum() }} => function 'lipsum'",
                "{{ '%g' % 1.5 }} => %g in a format",
                "{{ '{:+e}'.format(1.5) }} => '+e' in a format for a value of type float",
                "{{ strftime_now('%q') }} => '%q' of strftime_now",
                "{{ self }} => 'self'",
                "{{ range }} => printing a value of type function",
                "{{ messages|map('upper') }} => printing a value of type generator",
                "{{ 1.real }} => 'real' of a number",
                "{{ (-1) ** 0.5 }} => a complex number",
                "{{ 'a' is sameas 'a' }} => test 'sameas' for a value of type string"
            })
    void whatIsNotHereIsRefusedByName(String template, String what) {
        assertThatThrownBy(() -> render("\n" + template, turns("a")))
                .isInstanceOf(ConfigException.class)
                .hasMessage("here, line 2: " + what + " is not supported in chat templates; give one without it");
    }

    @ParameterizedTest
    @CsvSource(
            delimiterString = " => ",
            quoteCharacter = '`',
            value = {
                "{% include 'x' %} => tag 'include' is not supported: a chat template stands alone",
                "{% block x %}{% endblock %} => tag 'block' is not supported: a chat template stands alone",
                "{% do x %} => unknown tag 'do'",
                "{% if x %}{% endfor %} => unknown tag 'endfor'; the innermost open tag is 'if'",
                "{{ a + }} => expected an expression, got }}",
                "{{ 'abc }} => a string has no end",
                "{% for x in y %} => the template ends inside of {% for %}, expected {% endfor %}",
                "{{ x[1, 2] }} => several indexes in one [ ] are not supported"
            })
    void aTemplateThatCannotBeReadSaysTheLine(String template, String what) {
        assertThatThrownBy(() -> ChatTemplate.parse("a\n\n" + template, "dir/chat_template.jinja"))
                .isInstanceOf(ConfigException.class)
                .hasMessage("dir/chat_template.jinja, line 3: no chat template that can be read: " + what);
    }

    @Test
    void aFaultSaysTheLineWhereItIs() {
        String template =
                "{% macro m(x) %}\n{{ x.y.z }}\n{% endmacro %}\n\n{% if true %}\n{{ m(messages[0]) }}\n{% endif %}";
        assertThatThrownBy(() -> render(template, turns("a")))
                .hasMessage("here, line 2: the template cannot render this: a value of type dict has no 'y'");
    }

    @Test
    void anUnknownFilterSaysWhatMayBeMeant() {
        assertThatThrownBy(() -> render("{{ 'x'|uper }}", turns("a")))
                .hasMessageContaining("there is no filter 'uper'; did you mean 'upper'?");
    }

    @Test
    void whatATemplateSaysIsCutAndHarmlessForATerminal() {
        assertThatThrownBy(() -> render("{{ raise_exception('\\x1b[2J' + 'x' * 9999) }}", turns("a")))
                .hasMessageStartingWith("here, line 1: the template refuses these messages: \\u001b[2Jxxx")
                .hasMessageEndingWith("x …");
    }

    private static String render(String template, Inputs inputs) {
        return ChatTemplate.parse(template, "here").render(inputs).text();
    }
}
