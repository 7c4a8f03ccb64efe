package org.peft4j.data.template;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.peft4j.data.template.Fixture.turns;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.peft4j.error.ConfigException;
import org.peft4j.error.MalformedFileException;
import org.peft4j.io.Json;

/** Which template of a directory counts, as {@code AutoTokenizer} of transformers has it. */
class ChatTemplatesTest {
    @TempDir
    Path directory;

    @Test
    void theFileCountsBeforeTheConfig() throws IOException {
        config(Map.of("chat_template", "config"));
        write("chat_template.jinja", "file");
        assertThat(names()).containsExactly("default");
        assertThat(rendered(null, false)).isEqualTo("file");
    }

    @Test
    void anAdditionalFileAloneHidesTheConfig() throws IOException {
        config(Map.of("chat_template", "config"));
        write("additional_chat_templates/tool_use.jinja", "tools");
        assertThat(names()).containsExactly("tool_use");
        assertThat(rendered(null, true)).isEqualTo("tools");
        assertThatThrownBy(() -> rendered(null, false))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(
                        "there is no chat template 'default', so one has to be named; there are: tool_use");
    }

    @Test
    void toolsChooseTheTemplateForTools() throws IOException {
        config(Map.of(
                "chat_template",
                List.of(
                        Map.of("name", "default", "template", "plain"),
                        Map.of("name", "tool_use", "template", "tools"),
                        Map.of("name", "rag", "template", "documents"))));
        assertThat(names()).containsExactly("default", "rag", "tool_use");
        assertThat(rendered(null, false)).isEqualTo("plain");
        assertThat(rendered(null, true)).isEqualTo("tools");
        assertThat(rendered("rag", true)).isEqualTo("documents");
        assertThatThrownBy(() -> rendered("ragg", true))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("there is no chat template 'ragg'; did you mean 'rag'?");
    }

    @Test
    void aSingleTemplateAlsoServesTools() throws IOException {
        config(Map.of("chat_template", "one"));
        assertThat(rendered(null, true)).isEqualTo("one");
        assertThat(rendered("default", true)).isEqualTo("one");
    }

    @Test
    void theOlderFileCountsWhereThereIsNoOther() throws IOException {
        write("chat_template.json", "{\"chat_template\": \"older\"}");
        assertThat(rendered(null, false)).isEqualTo("older");
        config(Map.of("chat_template", "config"));
        assertThat(rendered(null, false)).isEqualTo("config");
    }

    @Test
    void specialTokensAreThoseOfTheFiles() throws IOException {
        config(Map.of(
                "chat_template", "{{ bos_token }}{{ eos_token }}{{ image_token }}",
                "bos_token", Map.of("content", "<b>", "__type", "AddedToken"),
                "eos_token", "<e>",
                "image_token", "<i>"));
        ChatTemplates templates = ChatTemplates.of(directory);
        assertThat(templates.specialTokens())
                .containsOnly(
                        Map.entry("bos_token", "<b>"), Map.entry("eos_token", "<e>"), Map.entry("image_token", "<i>"));
        assertThat(templates
                        .choose(null, false)
                        .render(turns("a").withSpecialTokens(templates.specialTokens()))
                        .text())
                .isEqualTo("<b><e><i>");
    }

    @Test
    void withoutATemplateTheWayOutIsSaid() throws IOException {
        config(Map.of("model_max_length", 5));
        assertThat(names()).isEmpty();
        assertThatThrownBy(() -> rendered(null, false))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("the tokenizer has no chat template")
                .hasMessageContaining("Put chat_template.jinja beside tokenizer_config.json");
    }

    @Test
    void faultsNameTheFileAndTheTemplate() throws IOException {
        config(Map.of("chat_template", List.of(Map.of("name", "rag", "template", "a\n{{ x.y }}"))));
        assertThatThrownBy(() -> rendered("rag", false))
                .isInstanceOf(ConfigException.class)
                .hasMessageStartingWith(directory.resolve("tokenizer_config.json")
                        + ": chat_template 'rag', line 2: the template cannot render this: 'x' is undefined");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{\"chat_template\": 3}",
                "{\"chat_template\": [\"a\"]}",
                "{\"chat_template\": [{\"name\": \"a\"}]}",
                "{\"chat_template\": {\"a\": 1}}"
            })
    void whatIsNoTemplateIsRefused(String config) throws IOException {
        write("tokenizer_config.json", config);
        assertThatThrownBy(this::names)
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("tokenizer_config.json: chat_template must be a text, or a list of");
    }

    @Test
    void aFileOfItsOwnIsRead() throws IOException {
        write("training.jinja", "{% generation %}x{% endgeneration %}");
        assertThat(ChatTemplates.read(directory.resolve("training.jinja")).marksGeneration())
                .isTrue();
    }

    @Test
    void aFileThatIsNoTextIsRefused() throws IOException {
        Files.write(directory.resolve("chat_template.jinja"), new byte[] {'a', (byte) 0xff});
        assertThatThrownBy(this::names)
                .isInstanceOf(MalformedFileException.class)
                .hasMessageContaining("text must be UTF-8");
    }

    private List<String> names() throws IOException {
        return ChatTemplates.of(directory).names();
    }

    private String rendered(@Nullable String name, boolean tools) throws IOException {
        return ChatTemplates.of(directory)
                .choose(name, tools)
                .render(turns("a"))
                .text();
    }

    private void config(Map<String, ?> config) throws IOException {
        write("tokenizer_config.json", Json.write(config));
    }

    private void write(String name, String content) throws IOException {
        Files.createDirectories(directory.resolve(name).getParent());
        Files.writeString(directory.resolve(name), content);
    }
}
